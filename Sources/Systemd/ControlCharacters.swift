/// Text of a log line with what a terminal would obey written as `\x1b`: C0 but for newline and tab, DEL, and C1.
///
/// What comes from outside (a tenant's name, a worker's) may hold anything. O(n), and no copy where there is nothing to escape.
func escapingControls(_ text: String) -> String {
    guard text.unicodeScalars.contains(where: isControl) else { return text }
    var out = ""
    for scalar in text.unicodeScalars {
        if isControl(scalar) {
            out += scalar.value < 16 ? "\\x0\(String(scalar.value, radix: 16))" : "\\x\(String(scalar.value, radix: 16))"
        } else {
            out.unicodeScalars.append(scalar)
        }
    }
    return out
}

private func isControl(_ scalar: Unicode.Scalar) -> Bool {
    switch scalar.value {
    case 0x09, 0x0a: false
    case 0x00..<0x20, 0x7f..<0xa0: true
    default: false
    }
}
