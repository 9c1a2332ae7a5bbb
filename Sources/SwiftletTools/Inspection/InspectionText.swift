import Foundation
import Swiftlet

/// A part of a report for people: a table, whose first row has the columns' names, and lines after it. Control
/// characters of names are escaped.
package struct InspectionSection: Sendable {
  package var title: String
  package var rows: [[String]]
  package var notes: [String]

  init(_ title: String, _ rows: [[String]], notes: [String] = []) {
    self.title = FormatError.printable(title)
    self.rows = rows.map { $0.map(FormatError.printable) }
    self.notes = notes.map(FormatError.printable)
  }
}

extension ModelInspection {
  /// The report as tables.
  ///
  /// - Parameter layerCount: how many layers are listed, from the largest on; nil lists all.
  package func sections(layerCount: Int? = nil) -> [InspectionSection] {
    var sections = [ports, operatorTable, sizeTable, layerTable(layerCount)]
    for (index, delegate) in delegates.enumerated() {
      let kinds = Dictionary(delegate.nodes.map { ("\($0.op) \($0.dataType)", 1) }, uniquingKeysWith: +)
      let summary = kinds.sorted { ($1.value, $0.key) < ($0.value, $1.key) }.map { "\($0.value) \($0.key)" }
      sections.append(
        InspectionSection(
          "Delegate \(index) (\(delegate.backend)), \(delegate.nodes.count) nodes: \(summary.joined(separator: ", "))",
          [ModelInspection.columns("kind")] + delegate.nodes.map(\.row)))
    }
    for (reason, nodes) in Dictionary(grouping: fallback, by: { $0.reason ?? "" }).sorted(by: { $0.key < $1.key }) {
      sections.append(
        InspectionSection(
          "Portable, \(nodes.count) nodes: \(reason)", [ModelInspection.columns("operator")] + nodes.map(\.row)))
    }
    if !operatorsNeeded.isEmpty {
      sections.append(InspectionSection("Portable operators needed", counts(operatorsNeeded, ["operator", "calls"])))
    }
    return sections
  }

  private static func columns(_ kind: String) -> [String] { ["node", kind, "type", "input", "constants", "output"] }

  private var ports: InspectionSection {
    func row(_ direction: String, _ value: Value) -> [String] {
      let integers = value.quantization.map { String(format: "int8 s=%.4g zp=%d", Double($0.scale), $0.zeroPoint) }
      return [direction, value.name, value.spec, integers ?? ""]
    }
    return InspectionSection(
      "Inputs and outputs",
      [["", "name", "type and shape", "quantized"]] + inputs.map { row("input", $0) }
        + outputs.map { row("output", $0) },
      notes: [
        "\(parameters.tensors) parameters and buffers, \(parameters.elements) elements, \(parameters.bytes) bytes"
      ])
  }

  private var operatorTable: InspectionSection {
    InspectionSection("Graph", counts(operators, ["operator", "nodes"]))
  }

  private func counts(_ counts: [String: Int], _ columns: [String]) -> [[String]] {
    [columns] + counts.sorted { ($1.value, $0.key) < ($0.value, $1.key) }.map { [$0.key, "\($0.value)"] }
  }

  private var sizeTable: InspectionSection {
    let rows = sizes.map { [$0.kind, "\($0.bytes)", percent($0.bytes, of: fileBytes)] }
    return InspectionSection(
      "File by kind",
      [["kind", "bytes", "%"]] + rows + [["the file", "\(fileBytes)", percent(fileBytes, of: fileBytes)]])
  }

  private func layerTable(_ count: Int?) -> InspectionSection {
    let stored = layers.reduce(0) { $0 + $1.bytes }
    let shown = layers.prefix(count ?? layers.count)
    let rows = shown.map { layer in
      [
        layer.name, layer.type, "\(layer.bytes)", percent(layer.bytes, of: stored), "\(layer.multiplyAdds)",
        percent(layer.multiplyAdds, of: multiplyAdds),
      ]
    }
    var notes = ["\(layers.count) layers, \(stored) bytes, \(multiplyAdds) multiply-adds"]
    if shown.count < layers.count { notes[0] = "… and \(layers.count - shown.count) more: " + notes[0] }
    return InspectionSection(
      "Layers, largest first", [["layer", "module", "bytes", "%", "multiply-adds", "%"]] + rows, notes: notes)
  }

  private func percent(_ part: Int, of whole: Int) -> String {
    whole > 0 ? String(format: "%.1f", Double(part) / Double(whole) * 100) : ""
  }
}

extension ModelInspection.Operation {
  /// The cells of a table of operations.
  fileprivate var row: [String] {
    func shapes(_ values: [ModelInspection.Value]) -> String { values.map { "\($0.shape)" }.joined(separator: " ") }
    return [node, op, dataType, shapes(inputs), shapes(constants), shapes(outputs)]
  }
}

extension TensorFileInspection {
  /// The report as tables.
  package func sections() -> [InspectionSection] {
    func number(_ value: Double?) -> String { value.map { String(format: "%.4g", $0) } ?? "" }
    let rows = tensors.map { tensor in
      [
        tensor.name, tensor.dataType.rawValue, "\(tensor.shape)", "\(tensor.bytes)", number(tensor.minimum),
        number(tensor.maximum), number(tensor.mean),
      ]
    }
    var notes = tensors.compactMap { tensor in
      tensor.nonFinite.map { "\(tensor.name): \($0) elements are NaN or infinite" }
    }
    if let container { notes.append("found under '\(container)'") }
    notes += metadata.sorted { $0.key < $1.key }.map { "metadata \($0.key): \($0.value)" }
    notes += others.map { "no tensor: \($0.name) = \($0.text)" }
    let totals = totals.map { [$0.dataType.rawValue, "\($0.tensors)", "\($0.elements)", "\($0.bytes)"] }
    let bytes = self.totals.reduce(0) { $0 + $1.bytes }
    return [
      InspectionSection(
        "Tensors", [["name", "type", "shape", "bytes", "min", "max", "mean"]] + rows, notes: notes),
      InspectionSection(
        "By type", [["type", "tensors", "elements", "bytes"]] + totals,
        notes: ["\(bytes) bytes of tensors in a file of \(fileBytes)"]),
    ]
  }
}

extension XNNPACKQuantizer {
  /// `quantizationCapabilities()` as a table.
  package func capabilitySection() -> InspectionSection {
    let rows = quantizationCapabilities().map { capability in
      var constraints = capability.constraints
      if !capability.activations.isEmpty {
        constraints.insert("with \(short(capability.activations)) behind it", at: 0)
      }
      func mark(_ configuration: String) -> String { capability.configurations.contains(configuration) ? "yes" : "–" }
      return [
        capability.pattern, short(capability.operators), mark("static"), mark("dynamic"),
        capability.isTorchao ? "yes" : "–", constraints.joined(separator: "; "),
      ]
    }
    return InspectionSection(
      "What XNNPACKQuantizer quantizes",
      [["unit", "operators", "static int8", "dynamic", "torchao", "constraints"]] + rows,
      notes: [
        "Operators that only move elements, max pooling, mean and clamps after them keep their input's parameters."
      ])
  }

  /// Operators without namespace and overload, each once.
  private func short(_ operators: [String]) -> String {
    var names: [String] = []
    for name in operators {
      let parts = name.split(separator: ".")
      let base = String(parts.count > 1 ? parts[1] : parts[0])
      if !names.contains(base) { names.append(base) }
    }
    return names.joined(separator: ", ")
  }
}
