/// Names of units, escaped as systemd-escape(1) does.
public enum UnitName {
    /// Letters, digits, `:`, `_` and inner `.` stay, `/` becomes `-`, every other byte `\xHH`.
    public static func escape(_ text: String) -> String {
        var out = ""
        for (i, byte) in text.utf8.enumerated() {
            switch byte {
            case UInt8(ascii: "/"): out += "-"
            case UInt8(ascii: "."): out += i == 0 ? hex(byte) : "."
            case UInt8(ascii: ":"), UInt8(ascii: "_"), 0x30...0x39, 0x41...0x5a, 0x61...0x7a: out += String(UnicodeScalar(byte))
            default: out += hex(byte)
            }
        }
        return out
    }

    /// The reverse; nil for what ``escape(_:)`` did not write.
    public static func unescape(_ text: String) -> String? {
        var bytes: [UInt8] = []
        var rest = Array(text.utf8)[...]
        while let byte = rest.popFirst() {
            switch byte {
            case UInt8(ascii: "-"): bytes.append(UInt8(ascii: "/"))
            case UInt8(ascii: "\\"):
                guard rest.count >= 3, rest.popFirst() == UInt8(ascii: "x"),
                    let value = UInt8(String(decoding: rest.prefix(2), as: UTF8.self), radix: 16)
                else { return nil }
                rest = rest.dropFirst(2)
                bytes.append(value)
            default: bytes.append(byte)
            }
        }
        return String(validating: bytes, as: UTF8.self)
    }

    /// The instance's unit: `leasehold-worker` and `shop/21000` make `leasehold-worker@shop-21000.service`.
    public static func service(_ template: String, instance: String) -> String { "\(template)@\(escape(instance)).service" }

    /// The unescaped instance of a unit of that template; nil for other units.
    public static func instance(of unit: String, template: String) -> String? {
        guard unit.hasPrefix(template + "@"), unit.hasSuffix(".service") else { return nil }
        return unescape(String(unit.dropFirst(template.count + 1).dropLast(".service".count)))
    }

    /// Where the manager shows a unit on the bus (sd_bus_path_encode(3)).
    public static func objectPath(_ unit: String) -> String {
        let escaped = unit.utf8.enumerated().map { i, byte -> String in
            switch byte {
            case 0x41...0x5a, 0x61...0x7a: return String(UnicodeScalar(byte))
            case 0x30...0x39 where i > 0: return String(UnicodeScalar(byte))
            default: return "_" + hex(byte).dropFirst(2)
            }
        }
        return "/org/freedesktop/systemd1/unit/" + escaped.joined()
    }

    private static func hex(_ byte: UInt8) -> String {
        let digits = Array("0123456789abcdef")
        return "\\x\(digits[Int(byte >> 4)])\(digits[Int(byte & 15)])"
    }
}
