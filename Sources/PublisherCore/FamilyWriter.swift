import Model

/// Writes the samples of one metric.
struct FamilyWriter {
    private let row: Metric.Row
    private let format: Exposition.Format
    private let family: [UInt8]
    private let labelNames: [[UInt8]]
    private let bounds: [[UInt8]]

    init(_ row: Metric.Row, _ format: Exposition.Format) {
        self.row = row
        self.format = format
        family = Array(Self.family(row, format).utf8)
        labelNames = row.labels.map { Array($0.utf8) }
        bounds = row.kind == .histogram ? LatencyHistogram.bounds.map { Array(Self.text($0.inSeconds, isBound: format == .openMetrics).utf8) } : []
    }

    /// OpenMetrics names a counter's family without the suffix of its samples.
    static func family(_ row: Metric.Row, _ format: Exposition.Format) -> String {
        switch (row.kind, format) {
        case (.counter, .openMetrics) where row.name.hasSuffix("_total"): String(row.name.dropLast(6))
        case (.counter, _), (.gauge, _), (.histogram, _): row.name
        }
    }

    /// `created` is when its process started, in seconds since 1970.
    mutating func write(_ labels: [String], _ value: Publication.Series.Value, _ created: Double?, _ out: inout [UInt8]) {
        switch value {
        case .number(let number):
            let suffix = row.kind == .counter && format == .openMetrics ? "_total" : ""
            sample(suffix, labels, nil, Self.text(number), &out)
        case .histogram(let histogram):
            var sum: UInt64 = 0
            for (bound, count) in zip(bounds, histogram.counts) {
                sum &+= count
                sample("_bucket", labels, bound, String(sum), &out)
            }
            sample("_bucket", labels, Array("+Inf".utf8), String(histogram.count), &out)
            sample("_sum", labels, nil, Self.text(histogram.sum.inSeconds), &out)
            sample("_count", labels, nil, String(histogram.count), &out)
        }
        if format == .openMetrics, row.kind != .gauge, let created { sample("_created", labels, nil, Self.text((created * 1000).rounded() / 1000), &out) }
    }

    private func sample(_ suffix: String, _ labels: [String], _ bound: [UInt8]?, _ value: String, _ out: inout [UInt8]) {
        out.append(contentsOf: family)
        out.append(contentsOf: suffix.utf8)
        if !labelNames.isEmpty || bound != nil {
            out.append(0x7b)
            for (i, name) in labelNames.enumerated() {
                if i > 0 { out.append(0x2c) }
                out.append(contentsOf: name)
                out.append(0x3d)
                out.append(0x22)
                out.appendEscaped(i < labels.count ? labels[i] : "", quotes: true)
                out.append(0x22)
            }
            if let bound {
                if !labelNames.isEmpty { out.append(0x2c) }
                out.append(contentsOf: "le=\"".utf8)
                out.append(contentsOf: bound)
                out.append(0x22)
            }
            out.append(0x7d)
        }
        out.append(0x20)
        out.append(contentsOf: value.utf8)
        out.append(0x0a)
    }

    /// Whole numbers without a point; as bounds, which OpenMetrics wants canonical, with one.
    static func text(_ value: Double, isBound: Bool = false) -> String {
        if let whole = Int64(exactly: value), abs(whole) < 1 << 53 { return isBound ? "\(whole).0" : String(whole) }
        return String(value)
    }
}

extension [UInt8] {
    /// As both formats escape: the backslash, the line feed, and in quotes the quote.
    mutating func appendEscaped(_ text: String, quotes: Bool) {
        for byte in text.utf8 {
            switch byte {
            case 0x5c: append(contentsOf: [0x5c, 0x5c])
            case 0x0a: append(contentsOf: [0x5c, 0x6e])
            case 0x22 where quotes: append(contentsOf: [0x5c, 0x22])
            default: append(byte)
            }
        }
    }
}
