import CLinux
import CSystemd

/// What a method is called with.
public enum BusArgument: Hashable, Sendable {
    case string(String)
    case int32(Int32)
    case strings([String])

    func append(to message: OpaquePointer) -> Int32 {
        switch self {
        case .string(let text): return sd_bus_message_append_basic(message, CChar(UInt8(ascii: "s")), text)
        case .int32(var number): return sd_bus_message_append_basic(message, CChar(UInt8(ascii: "i")), &number)
        case .strings(let list):
            var pointers: [UnsafeMutablePointer<CChar>?] = list.map { strdup($0) } + [nil]
            defer { for pointer in pointers { free(pointer) } }
            return sd_bus_message_append_strv(message, &pointers)
        }
    }
}

/// A received message, read from its start: each read moves on, and is nil for what is not there. Valid within the callback only.
public struct BusMessage {
    private let message: OpaquePointer
    init(_ message: OpaquePointer) { self.message = message }

    private enum Kind {
        static let array = CChar(UInt8(ascii: "a"))
        static let structure = CChar(UInt8(ascii: "r"))
        static let variant = CChar(UInt8(ascii: "v"))
    }

    /// A string, an object path (`o`) too.
    public func string(_ type: Character = "s") -> String? {
        var text: UnsafePointer<CChar>?
        guard let code = type.asciiValue, sd_bus_message_read_basic(message, CChar(code), &text) > 0 else { return nil }
        return text.map { String(cString: $0) }
    }

    public func uint32() -> UInt32? {
        var number: UInt32 = 0
        return sd_bus_message_read_basic(message, CChar(UInt8(ascii: "u")), &number) > 0 ? number : nil
    }

    public func int32() -> Int32? {
        var number: Int32 = 0
        return sd_bus_message_read_basic(message, CChar(UInt8(ascii: "i")), &number) > 0 ? number : nil
    }

    /// Reads what is in a variant of that type.
    public func variant<Value>(_ contents: String, _ read: (BusMessage) -> Value?) -> Value? {
        guard sd_bus_message_enter_container(message, Kind.variant, contents) > 0 else { return nil }
        defer { sd_bus_message_exit_container(message) }
        return read(self)
    }

    /// Calls `read` for every structure of an array of them.
    public func structures(_ contents: String, _ read: (BusMessage) -> Void) {
        guard sd_bus_message_enter_container(message, Kind.array, "(\(contents))") > 0 else { return }
        while sd_bus_message_enter_container(message, Kind.structure, contents) > 0 {
            read(self)
            // What `read` left is passed over.
            while sd_bus_message_at_end(message, 0) == 0, sd_bus_message_skip(message, nil) >= 0 {}
            sd_bus_message_exit_container(message)
        }
        sd_bus_message_exit_container(message)
    }
}
