import Foundation
import GraphIR
import TensorCore
import TestSupport
import Testing
import TorchFormats

/// Pickles written by hand: what is refused, and the opcodes that PyTorch's own files do not use.
struct UnpicklerTests {
  /// A `torch.save` archive with this pickle.
  private func read(_ pickle: [UInt8], storage: [UInt8] = []) throws -> StateDict {
    let folder = try TemporaryFolder()
    var writer = try ZipWriter(path: folder.path("a.pth"))
    try writer.add("a/data.pkl", pickle)
    try writer.add("a/data/0", storage)
    try writer.finish()
    return try StateDict.read(folder.path("a.pth"))
  }

  private func message(_ pickle: [UInt8]) -> String {
    do {
      let dict = try read(pickle)
      return "read \(dict.others)"
    } catch { return "\(error)" }
  }

  private func bytes(_ text: String) -> [UInt8] { [UInt8](text.utf8) }

  /// `c` module name, a tuple of one string, `R`, `.`.
  private func call(_ module: String, _ name: String, _ argument: String) -> [UInt8] {
    bytes("\u{2}c\(module)\n\(name)\n").replacingFirst(with: [0x80, 2]) + [0x58, UInt8(argument.utf8.count), 0, 0, 0]
      + bytes(argument) + [0x85, 0x52, 0x2e]
  }

  @Test(arguments: [
    ("os", "system"), ("posix", "system"), ("nt", "system"), ("subprocess", "Popen"), ("builtins", "eval"),
    ("__builtin__", "eval"), ("builtins", "exec"), ("builtins", "getattr"), ("torch", "load"), ("torch.hub", "load"),
    ("torch.serialization", "load"), ("torch.storage", "_load_from_bytes"), ("torch._utils", "os.system"),
    ("numpy.core.multiarray", "_reconstruct"), ("torch.nn.modules.linear", "Linear"), ("copy_reg", "_reconstructor"),
    ("torch", "FloatStorage.from_file"), ("collections", "OrderedDict.fromkeys"), ("torch.jit", "load"),
  ])
  func namesThatAreNotInTheTableAreRefused(_ module: String, _ name: String) throws {
    let folder = try TemporaryFolder()
    let marker = folder.path("executed")
    let old = message(call(module, name, "touch \(marker)"))
    let module = module == "__builtin__" ? "builtins" : module == "copy_reg" ? "copyreg" : module
    #expect(old.contains("GLOBAL '\(module).\(name)' is not allowed") && old.contains("nothing is executed"), "\(old)")
    #expect(old.contains("entry 'a/data.pkl', offset"))
    // The same by protocol 4.
    let new = message(
      [0x80, 4, 0x8c, UInt8(module.utf8.count)] + bytes(module) + [0x8c, UInt8(name.utf8.count)] + bytes(name)
        + [0x93, 0x8c, 1, 0x78, 0x85, 0x52, 0x2e])
    #expect(new.contains("GLOBAL '\(module).\(name)' is not allowed"), "\(new)")
    // Without a call, and by INST.
    #expect(message(bytes("c\(module)\n\(name)\n.")).contains("is not allowed"))
    #expect(message(bytes("(S'x'\ni\(module)\n\(name)\n.")).contains("is not allowed"))
    #expect(message(bytes("(i\(module)\n\(name)\n.")).contains("GLOBAL '\(module).\(name)' is not allowed"))
    #expect(!FileManager.default.fileExists(atPath: marker))
  }

  @Test(arguments: ["_rebuild_qtensor", "_rebuild_sparse_tensor", "_rebuild_wrapper_subclass"])
  func whatPyTorchAllowsAndCannotBeReadSaysWhy(_ name: String) {
    #expect(message(bytes("ctorch._utils\n\(name)\n.")).contains("'torch._utils.\(name)' is not supported: "))
  }

  /// A call inside the arguments of an allowed one; calls of what is no function; attributes set on a name.
  @Test(arguments: [
    ("ccollections\nOrderedDict\n(cos\nsystem\nS'x'\ntRtR.", "GLOBAL 'os.system'"),
    ("ctorch\nFloatStorage\n)R.", "call of 'torch.FloatStorage' is not allowed"),
    ("ctorch\nFloatStorage\n)\u{01}.", "is not a pickle opcode"),
    ("ctorch\nFloatStorage\n(dR.", "without a tuple"),
    ("I1\n)R.", "something that is not a function"),
    ("ctorch\nfloat32\n)R.", "something that is not a function"),
    ("ccollections\nOrderedDict\n(I1\ntR.", "made of something that is not a container"),
    ("ctorch\nFloatStorage\n(db.", "BUILD is allowed for dictionaries and tensors only"),
    ("(dI1\na.", "adds to something that is not a list"),
    ("(lI1\nI2\ns.", "adds to something that is not a dict"),
    ("(I1\nd.", "a key has no value"),
    ("Pmodule\n.", "opcode PERSID is not allowed"),
    ("(I1\no.", "opcode OBJ is not allowed"),
    ("\u{52}.", "takes a value from an empty stack"),
    ("t.", "was not opened"),
    ("g5\n.", "memo entry 5 does not exist"),
    ("I1\nI2\n.", "values left on the stack"),
    ("(I1\n.", "values left on the stack"),
    ("I1\n", "is cut off"),
    ("I99999999999999999999999\n.", "not a 64-bit integer"),
    ("(lp0\ng0\na.", "a container holds itself"),
    ("V\\ud800\n.", "wrong escape"),
  ])
  func otherDamageIsRefused(_ pickle: String, _ expected: String) {
    #expect(message(bytes(pickle)).contains(expected), "\(message(bytes(pickle)))")
  }

  @Test func onlyStoragesAreLoadedByPersistentID() {
    // ("module", …), as torch.save of PyTorch 0.x wrote for whole models.
    #expect(message(bytes("(Vmodule\nI1\ntQ.")).contains("persistent id 'module' is not allowed"))
    #expect(message(bytes("(Vstorage\nVx\nV0\nVcpu\nI1\ntQ.")).contains("is damaged"))
    #expect(
      message(bytes("(Vstorage\nctorch\nSize\nV0\nVcpu\nI1\ntQ.")).contains("'torch.Size' is not a type of storage"))
    #expect(message(bytes("I1\nQ.")).contains("is damaged"))
  }

  @Test func depthAndNumberAreBounded() {
    let deep = [UInt8](repeating: 0x5d, count: 1) + [UInt8](repeating: 0x85, count: 500_000) + [0x2e]
    #expect(message(deep).contains("inside each other") || message(deep).contains("out of proportion"))
    #expect(message([0x5d] + [UInt8](repeating: 0x85, count: 200) + [0x2e]).contains("inside each other"))
    #expect(message([UInt8](repeating: 0x4e, count: 3_000_000)).contains("out of proportion"))
    #expect(message([UInt8](repeating: 0x28, count: 3_000_000)).contains("out of proportion"))
    #expect(message([UInt8](repeating: 0x5d, count: 3_000_000)).contains("out of proportion"))
  }

  /// Fifty lists, each with the one before ten times: 10^50 paths from a few hundred bytes.
  @Test func sharedContainersDoNotExplode() {
    var pickle = bytes("(lp0\nI1\na")
    for level in 1...50 {
      pickle += bytes("0(lp\(level)\n")
      for _ in 0..<10 { pickle += bytes("g\(level - 1)\na") }
    }
    #expect(message(pickle + bytes(".")).contains("refer to each other too often"))
    #expect(message(bytes("(dVx\n") + pickle + bytes("s.")).contains("too often"))
  }

  @Test func plainValuesOfEveryProtocolAreRead() throws {
    let pickle =
      bytes("(dVa\nI-7\nsVb\nI01\nsVc\nL12L\nsVd\nF-0.5\nsVe\nV\\u00e9\u{5c}x\ns")
      + [0x55, 1, 0x66, 0x8a, 2, 0x00, 0x80, 0x73]  // 'f': LONG1 -32768
      + [0x54, 1, 0, 0, 0, 0x67, 0x8b, 3, 0, 0, 0, 1, 0, 1, 0x73]  // 'g': LONG4 65537
      + [0x8d, 1, 0, 0, 0, 0, 0, 0, 0, 0x68, 0x8f, 0x28, 0x4b, 5, 0x90, 0x73]  // 'h': a set by ADDITEMS
      + [0x8c, 1, 0x69, 0x28, 0x4b, 1, 0x91, 0x73]  // 'i': a frozenset
      + [0x8c, 1, 0x6a, 0x96, 1, 0, 0, 0, 0, 0, 0, 0, 9, 0x73]  // 'j': BYTEARRAY8
      + [0x8c, 1, 0x6b, 0x4a, 0xff, 0xff, 0xff, 0xff, 0x73]  // 'k': BININT -1
      + [0x8c, 1, 0x6c, 0x47, 0x3f, 0xf8, 0, 0, 0, 0, 0, 0, 0x73]  // 'l': BINFLOAT 1.5
      + [0x8c, 1, 0x61, 0x88, 0x73, 0x2e]  // 'a' again: True
    let others = try read(pickle).others
    #expect(
      others.map { "\($0.name) \($0.text)" } == [
        "a True", "b True", "c 12", "d -0.5", "e 'é\\x'", "f -32768", "g 65537", "h {5}", "i {1}", "j 1 bytes", "k -1",
        "l 1.5",
      ])
  }

  /// A storage's view, an integer key, a CUDA storage: what PyTorch before 0.4 wrote.
  @Test func oldPersistentIDsAreRead() throws {
    let id = "(Vstorage\nctorch.cuda\nShortStorage\nI0\nVcuda:0\nI4\n(Vview\nI1\nI2\nttQ"
    let pickle = bytes("(dVw\nctorch._utils\n_rebuild_tensor\n(\(id)I0\n(I2\nt(I1\nttRs.")
    let dict = try read(pickle, storage: [1, 0, 2, 0, 3, 0, 4, 0])
    #expect(dict["w"]?.elements(as: Int16.self) == [2, 3])
    let outside = String(decoding: pickle, as: UTF8.self).replacingOccurrences(of: "(I2\nt(I1\nt", with: "(I3\nt(I1\nt")
    #expect(message(bytes(outside)).contains("tensor 'w'"))
  }

  /// Expanded to any size by stride 0: copies are bounded by the file's size.
  @Test func expandedTensorsAreBounded() throws {
    let id = "(Vstorage\nctorch\nByteStorage\nV0\nVcpu\nI1\ntQ"
    let pickle = bytes("(dVw\nctorch._utils\n_rebuild_tensor\n(\(id)I0\n(I99999999999\nt(I0\nttRs.")
    #expect { _ = try read(pickle, storage: [1]) } throws: {
      "\($0)".contains("tensor 'w'") && "\($0)".contains("out of proportion")
    }
  }

  @Test func otherArchivesOfPyTorchAreRefusedByName() throws {
    let folder = try TemporaryFolder()
    var writer = try ZipWriter(path: folder.path("script.pt"))
    for name in ["data.pkl", "code/__torch__.py", "constants.pkl", "version"] { try writer.add("m/" + name, []) }
    try writer.finish()
    #expect { _ = try StateDict.read(folder.path("script.pt")) } throws: {
      "\($0)".contains("is a TorchScript archive")
    }
    var tar = [UInt8](repeating: 0, count: 1024)
    tar.replaceSubrange(257..<262, with: bytes("ustar"))
    try Data(tar).write(to: URL(fileURLWithPath: folder.path("tar.pth")))
    #expect { _ = try StateDict.read(folder.path("tar.pth")) } throws: {
      "\($0)".contains("tar file from before PyTorch")
    }
    writer = try ZipWriter(path: folder.path("big.pth"))
    try writer.add("m/data.pkl", bytes("(d."))
    try writer.add("m/byteorder", bytes("big"))
    try writer.finish()
    #expect { _ = try StateDict.read(folder.path("big.pth")) } throws: { "\($0)".contains("only 'little'") }
  }
}

extension [UInt8] {
  fileprivate func replacingFirst(with prefix: [UInt8]) -> [UInt8] { prefix + dropFirst() }
}
