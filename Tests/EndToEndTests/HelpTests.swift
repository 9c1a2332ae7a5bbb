import Foundation
import PipelineTesting
import TestSupport
import Testing

/// `--help` of every command, as it is stored in Tests/Snapshots.
///
/// To renew the snapshots: `SWIFTLET_RENEW_SNAPSHOTS=1 swift test --filter HelpTests`, and look at what changed.
@Suite struct HelpTests {
  private static let folder = repositoryPath("Tests/Snapshots")
  private static let renews = ProcessInfo.processInfo.environment["SWIFTLET_RENEW_SNAPSHOTS"] != nil

  private static func help(_ arguments: [String]) throws -> String {
    let result = try CLI.swiftlet(arguments + ["--help"], environment: ["COLUMNS": "80"])
    #expect(result.status == 0 && result.errors.isEmpty, "\(arguments): \(result.errors)")
    return result.output
  }

  /// As the executable lists them, so that none is forgotten.
  private static func commands() throws -> [String] {
    let sections = try help([]).components(separatedBy: "SUBCOMMANDS:\n")
    let list = try #require(sections.last?.components(separatedBy: "\n\n").first)
    return list.split(separator: "\n").filter { $0.prefix { $0 == " " }.count == 2 }.map { line in
      String(line.drop { $0 == " " }.prefix { $0 != " " })
    }
  }

  @Test func everyHelpIsItsSnapshot() throws {
    let commands = try Self.commands()
    #expect(Set(commands).isSuperset(of: ["quantize", "bench"]))
    for (name, arguments) in [("swiftlet", [])] + commands.map({ ($0, [$0]) }) {
      let (path, help) = ("\(Self.folder)/\(name).txt", try Self.help(arguments))
      if Self.renews { try Data(help.utf8).write(to: URL(fileURLWithPath: path)) }
      let snapshot = try? String(contentsOfFile: path, encoding: .utf8)
      #expect(help == snapshot, "\(name): see HelpTests.swift for how to renew Tests/Snapshots/\(name).txt")
    }
    let stored = try FileManager.default.contentsOfDirectory(atPath: Self.folder).sorted()
    #expect(stored == (["swiftlet"] + commands).map { $0 + ".txt" }.sorted())
  }

  @Test func everyHelpHasAnExample() throws {
    for command in try Self.commands() {
      let help = try Self.help([command])
      #expect(help.contains("Example: swiftlet \(command)") && help.contains("--json"), "\(command)")
    }
  }
}
