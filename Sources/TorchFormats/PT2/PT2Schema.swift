import SymbolicSizes
import TensorCore

/// The parts of `torch.export`'s JSON schema (versions 7 and 8) that an inference graph uses, by the schema's own names.
enum PT2Schema {
  /// The schema's version as written: another major number is another format.
  static let major = 8
  /// Major numbers that differ in nothing that is read here.
  static let readable = 7...8
  static let minor = 20
  /// The PyTorch release whose schema is written.
  static let torchVersion = "2.15.0"

  struct Program: Decodable {
    let graphModule: GraphModule
    let schemaVersion: Version
    let rangeConstraints: [String: RangeConstraint]?
    let guardsCode: [String]?

    enum CodingKeys: String, CodingKey {
      case rangeConstraints = "range_constraints"
      case guardsCode = "guards_code"
      case graphModule = "graph_module"
      case schemaVersion = "schema_version"
    }
  }

  struct Version: Decodable {
    let major: Int
    let minor: Int
  }

  struct GraphModule: Decodable {
    let graph: Graph
    let signature: Signature
    let moduleCallGraph: [ModuleCall]?

    enum CodingKeys: String, CodingKey {
      case graph, signature
      case moduleCallGraph = "module_call_graph"
    }
  }

  struct RangeConstraint: Decodable {
    let minimum: Int?
    let maximum: Int?

    enum CodingKeys: String, CodingKey {
      case minimum = "min_val"
      case maximum = "max_val"
    }
  }

  struct ModuleCall: Decodable {
    struct Signature: Decodable {
      let inputs: String
      let outputs: String
      let argumentNames: [String]?

      enum CodingKeys: String, CodingKey {
        case inputs = "in_spec"
        case outputs = "out_spec"
        case argumentNames = "forward_arg_names"
      }
    }

    /// The module's path; empty for the whole.
    let path: String
    let signature: Signature?

    enum CodingKeys: String, CodingKey {
      case signature
      case path = "fqn"
    }
  }

  /// A node of a serialized pytree.
  struct TreeSpec: Decodable {
    let type: String?
    let children: [TreeSpec]

    enum CodingKeys: String, CodingKey {
      case type
      case children = "children_spec"
    }

    /// The tensors, or other values, that the structure holds.
    var leafCount: Int { type == nil ? 1 : children.reduce(0) { $0 + $1.leafCount } }
  }

  struct Graph: Decodable {
    let inputs: [Argument]
    let outputs: [Argument]
    let nodes: [Node]
    let tensorValues: [String: TensorMeta]
    let symIntValues: [String: SymInt]?

    enum CodingKeys: String, CodingKey {
      case inputs, outputs, nodes
      case symIntValues = "sym_int_values"
      case tensorValues = "tensor_values"
    }
  }

  struct Node: Decodable {
    let target: String
    let inputs: [NamedArgument]
    let outputs: [Argument]
    let metadata: [String: String]
    /// Absent in files of older PyTorch versions.
    let name: String?
  }

  struct NamedArgument: Decodable {
    let name: String
    let arg: Argument
  }

  struct Named: Decodable {
    let name: String
  }

  // MARK: Tensors

  struct TensorMeta: Decodable {
    let dtype: Int
    let sizes: [SymInt]
    let strides: [SymInt]
    let storageOffset: SymInt
    let layout: Int

    enum CodingKeys: String, CodingKey {
      case dtype, sizes, strides, layout
      case storageOffset = "storage_offset"
    }
  }

  /// A number, or an expression of the dynamic sizes.
  struct SymInt: Decodable {
    struct Expression: Decodable {
      struct Hint: Decodable {
        let value: Int?
        enum CodingKeys: String, CodingKey { case value = "as_int" }
      }

      let text: String
      let hint: Hint?

      enum CodingKeys: String, CodingKey {
        case hint
        case text = "expr_str"
      }
    }

    /// Nil for an expression.
    let value: Int?
    let expression: Expression?

    enum CodingKeys: String, CodingKey {
      case value = "as_int"
      case expression = "as_expr"
    }

    /// The number, or what the expression is in the example.
    var example: Int? { value ?? expression?.hint?.value }
  }

  /// A number, or the name of a computed one.
  struct SymIntArgument: Decodable, Hashable {
    let value: Int?
    let name: String?

    enum CodingKeys: String, CodingKey {
      case value = "as_int"
      case name = "as_name"
    }
  }

  /// `model_weights_config.json` and `model_constants_config.json`: what is known of each tensor by its name.
  struct PayloadConfig: Decodable {
    let config: [String: Payload]
  }

  struct Payload: Decodable {
    let pathName: String
    let usePickle: Bool
    let tensorMeta: TensorMeta?

    enum CodingKeys: String, CodingKey {
      case pathName = "path_name"
      case usePickle = "use_pickle"
      case tensorMeta = "tensor_meta"
    }
  }

  // MARK: Signature

  struct Signature: Decodable {
    let inputSpecs: [InputSpec]
    let outputSpecs: [OutputSpec]

    enum CodingKeys: String, CodingKey {
      case inputSpecs = "input_specs"
      case outputSpecs = "output_specs"
    }
  }

  /// Exactly one case of the schema's union; all nil for one that is not known here.
  struct InputSpec: Decodable {
    struct Parameter: Decodable {
      let name: String
      enum CodingKeys: String, CodingKey { case name = "parameter_name" }
    }
    struct Buffer: Decodable {
      let name: String
      let persistent: Bool
      enum CodingKeys: String, CodingKey {
        case persistent
        case name = "buffer_name"
      }
    }
    struct Constant: Decodable {
      let name: String
      enum CodingKeys: String, CodingKey { case name = "tensor_constant_name" }
    }
    struct UserInput: Decodable { let arg: Argument }

    let parameter: Parameter?
    let buffer: Buffer?
    let constant: Constant?
    let userInput: UserInput?

    enum CodingKeys: String, CodingKey {
      case parameter, buffer
      case constant = "tensor_constant"
      case userInput = "user_input"
    }
  }

  struct OutputSpec: Decodable {
    struct UserOutput: Decodable { let arg: Argument }
    /// Nil for mutations, losses and gradients.
    let userOutput: UserOutput?

    enum CodingKeys: String, CodingKey { case userOutput = "user_output" }
  }
}

extension PT2Schema {
  /// The schema's union of arguments.
  enum Argument: Decodable {
    case none
    case tensor(String)
    case tensors([String])
    /// Nil elements are None.
    case optionalTensors([String?])
    case bool(Bool)
    case bools([Bool])
    case int(Int)
    case ints([Int])
    case float(Double)
    case floats([Double])
    case string(String)
    case symInt(String)
    case symInts([SymIntArgument])
    case scalarType(Int)
    case memoryFormat(Int)
    /// Where a tensor is made (`as_device`) or how it lies in memory (`as_layout`, strided), which has no meaning here.
    case placement
    /// A kind that has no counterpart here, by its key in the schema.
    case unsupported(String)

    private struct Key: CodingKey {
      let stringValue: String
      var intValue: Int? { nil }
      init(stringValue: String) { self.stringValue = stringValue }
      init?(intValue: Int) { nil }
    }

    /// A number of a float argument: JSON has no infinities, so the schema spells them as strings.
    private struct Number: Decodable {
      let value: Double

      init(from decoder: any Decoder) throws {
        let container = try decoder.singleValueContainer()
        guard let text = try? container.decode(String.self) else {
          value = try container.decode(Double.self)
          return
        }
        switch text {
        case "Infinity": value = .infinity
        case "-Infinity": value = -.infinity
        case "NaN": value = .nan
        default:
          throw DecodingError.dataCorruptedError(
            in: container, debugDescription: "'\(text.prefix(32))' is not a number")
        }
      }
    }

    private struct OptionalTensor: Decodable {
      let name: Named?
      enum CodingKeys: String, CodingKey { case name = "as_tensor" }
    }

    init(from decoder: any Decoder) throws {
      let container = try decoder.container(keyedBy: Key.self)
      guard container.allKeys.count == 1, let key = container.allKeys.first else {
        self = .unsupported("an argument of \(container.allKeys.count) kinds")
        return
      }
      func value<T: Decodable>(_ type: T.Type = T.self) throws -> T { try container.decode(T.self, forKey: key) }
      switch key.stringValue {
      case "as_none": self = .none
      case "as_tensor": self = .tensor(try value(Named.self).name)
      case "as_tensors": self = .tensors(try value([Named].self).map(\.name))
      case "as_optional_tensor": self = try value(OptionalTensor.self).name.map { .tensor($0.name) } ?? .none
      case "as_optional_tensors": self = .optionalTensors(try value([OptionalTensor].self).map { $0.name?.name })
      case "as_bool": self = .bool(try value())
      case "as_bools": self = .bools(try value())
      case "as_int": self = .int(try value())
      case "as_ints": self = .ints(try value())
      case "as_sym_int":
        let argument = try value(SymIntArgument.self)
        self = argument.name.map { .symInt($0) } ?? argument.value.map { .int($0) } ?? .unsupported("as_sym_int")
      case "as_sym_ints":
        let values = try value([SymIntArgument].self)
        let known = values.compactMap(\.value)
        self = known.count == values.count ? .ints(known) : .symInts(values)
      case "as_float": self = .float(try value(Number.self).value)
      case "as_floats": self = .floats(try value([Number].self).map(\.value))
      case "as_string": self = .string(try value())
      case "as_scalar_type": self = .scalarType(try value())
      case "as_memory_format": self = .memoryFormat(try value())
      case "as_device": self = .placement
      case "as_layout" where try value(Int.self) == PT2Schema.stridedLayout: self = .placement
      default: self = .unsupported(key.stringValue)
      }
    }
  }

  /// The schema's codes of element types.
  static let scalarTypes: [Int: DataType] = [
    1: .uint8, 2: .int8, 3: .int16, 4: .int32, 5: .int64, 6: .float16, 7: .float32, 8: .float64, 12: .bool,
    13: .bfloat16,
  ]

  static func code(of type: DataType) -> Int { scalarTypes.first { $0.value == type }?.key ?? 0 }

  /// The schema's code of a strided tensor.
  static let stridedLayout = 7
}
