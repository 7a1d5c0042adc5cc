extension String {
    /// For journals and messages: control characters made visible, and no longer than 1,000 scalars, which every message has room for.
    public var asOneLine: String {
        let scalars = unicodeScalars
        if utf8.count <= 1000, !scalars.contains(where: \.isControl) { return self }
        var line = ""
        for scalar in scalars.prefix(1000) {
            if scalar.isControl { line += "\\u{\(String(scalar.value, radix: 16))}" } else { line.unicodeScalars.append(scalar) }
            if line.utf8.count >= 3000 { break }
        }
        return line
    }
}

extension Unicode.Scalar {
    fileprivate var isControl: Bool { properties.generalCategory == .control || value == 0x2028 || value == 0x2029 }
}
