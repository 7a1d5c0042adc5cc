import Model

/// Publisher → every process: what it wants to hear.
public enum VitalsRequest: WireMessage {
    /// Job ends of every job that was not served, and of this many of a million that were; for traces.
    case sample(millionths: UInt32)
    /// A round of numbers now, and not only at the next second.
    case now

    public func encode(into writer: inout ByteWriter) {
        switch self {
        case .sample(let millionths):
            writer.integer(UInt8(1))
            writer.integer(millionths)
        case .now: writer.integer(UInt8(2))
        }
    }

    public static func decode(from reader: inout ByteReader) throws(WireError) -> VitalsRequest {
        switch try reader.integer(UInt8.self) {
        case 1:
            let millionths = try reader.integer(UInt32.self)
            guard millionths <= 1_000_000 else { throw .tooLong(field: "sample", count: Int(clamping: millionths)) }
            return .sample(millionths: millionths)
        case 2: return .now
        case let tag: throw .unknownValue(field: "vitals request", value: UInt64(tag))
        }
    }
}

/// Every process → publisher: once a second all that it counts, and in between what happened.
///
/// Level-triggered: a round replaces the one before, so that nothing is lost with a link but time.
public enum VitalsMessage: WireMessage {
    /// A round of numbers begins; `uptime` is since the process started, when its counters were 0.
    case begin(uptime: Duration)
    case number(Metric, labels: [String], Double)
    case histogram(Metric, labels: [String], LatencyHistogram)
    /// The round is whole.
    case end
    case job(JobEnd)
    case event(VitalsEvent)

    public func encode(into writer: inout ByteWriter) {
        switch self {
        case .begin(let uptime):
            writer.integer(UInt8(1))
            writer.duration(uptime)
        case .number(let metric, let labels, let value):
            writer.integer(UInt8(2))
            writer.metric(metric, labels)
            writer.integer(value.bitPattern)
        case .histogram(let metric, let labels, let histogram):
            writer.integer(UInt8(3))
            writer.metric(metric, labels)
            writer.histogram(histogram)
        case .end: writer.integer(UInt8(4))
        case .job(let job):
            writer.integer(UInt8(5))
            job.encode(into: &writer)
        case .event(let event):
            writer.integer(UInt8(6))
            event.encode(into: &writer)
        }
    }

    public static func decode(from reader: inout ByteReader) throws(WireError) -> VitalsMessage {
        switch try reader.integer(UInt8.self) {
        case 1: return .begin(uptime: try reader.duration("uptime"))
        case 2:
            let (metric, labels) = try reader.metric()
            guard metric.kind != .histogram else { throw .unknownValue(field: "kind of metric", value: UInt64(metric.rawValue)) }
            let bits = try reader.integer(UInt64.self)
            let value = Double(bitPattern: bits)
            guard value.isFinite else { throw .unknownValue(field: "metric's value", value: bits) }
            return .number(metric, labels: labels, value)
        case 3:
            let (metric, labels) = try reader.metric()
            guard metric.kind == .histogram else { throw .unknownValue(field: "kind of metric", value: UInt64(metric.rawValue)) }
            return .histogram(metric, labels: labels, try reader.histogram())
        case 4: return .end
        case 5: return .job(try JobEnd.decode(from: &reader))
        case 6: return .event(try VitalsEvent.decode(from: &reader))
        case let tag: throw .unknownValue(field: "vitals message", value: UInt64(tag))
        }
    }
}

extension ByteWriter {
    /// As many labels as the metric has: what is missing is empty, what is too long is cut.
    fileprivate mutating func metric(_ metric: Metric, _ labels: [String]) {
        integer(metric.rawValue)
        for i in metric.labels.indices { label(i < labels.count ? labels[i] : "") }
    }

    private mutating func label(_ text: String) { string(text.utf8.count <= Bounds.labelBytes ? text : text.cut(at: Bounds.labelBytes)) }

    fileprivate mutating func histogram(_ histogram: LatencyHistogram) {
        integer(UInt8(histogram.counts.count))
        for count in histogram.counts { integer(count) }
        integer(histogram.count)
        // Sums of a long life exceed the year that a duration may have.
        integer(UInt64(clamping: histogram.sum.microseconds))
    }
}

extension String {
    /// At most so many bytes, and no half of a character.
    func cut(at bytes: Int) -> String {
        var out = ""
        var count = 0
        for scalar in unicodeScalars {
            count += UTF8.width(scalar)
            if count > bytes { break }
            out.unicodeScalars.append(scalar)
        }
        return out
    }
}

extension ByteReader {
    fileprivate mutating func metric() throws(WireError) -> (Metric, [String]) {
        let number = try integer(UInt16.self)
        guard let metric = Metric(rawValue: number) else { throw .unknownValue(field: "metric", value: UInt64(number)) }
        var labels: [String] = []
        for _ in metric.labels {
            let label = try string("label")
            guard label.utf8.count <= Bounds.labelBytes else { throw .tooLong(field: "label", count: label.utf8.count) }
            labels.append(label)
        }
        return (metric, labels)
    }

    fileprivate mutating func histogram() throws(WireError) -> LatencyHistogram {
        let buckets = Int(try integer(UInt8.self))
        guard buckets == LatencyHistogram.bounds.count else {
            throw .mismatch(field: "buckets", ours: UInt64(LatencyHistogram.bounds.count), theirs: UInt64(buckets))
        }
        var counts: [UInt64] = []
        counts.reserveCapacity(buckets)
        for _ in 0..<buckets { counts.append(try integer()) }
        let count = try integer(UInt64.self)
        let sum = Duration.microseconds(Int64(clamping: try integer(UInt64.self)))
        guard let histogram = LatencyHistogram(counts: counts, count: count, sum: sum) else {
            throw .unknownValue(field: "histogram's count", value: count)
        }
        return histogram
    }
}
