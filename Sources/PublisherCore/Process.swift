import Model
import Wire

extension Publication {
    /// One measured thing, with the values of its labels.
    public struct Series: Sendable, Hashable {
        public enum Value: Sendable, Hashable {
            case number(Double)
            case histogram(LatencyHistogram)
        }

        public var metric: Metric
        public var labels: [String]
        public var value: Value

        public init(metric: Metric, labels: [String], value: Value) {
            self.metric = metric
            self.labels = labels
            self.value = value
        }
    }

    /// A process whose vitals are listened to.
    public struct Process: Sendable {
        public let name: String
        public private(set) var standing = Standing.never
        /// New instances after the first one that was seen.
        public private(set) var restarts: UInt64 = 0
        /// When the process started, by its own word.
        public private(set) var started: Instant?
        /// Of the last whole round; by metric, in the order in which they were told.
        public private(set) var series: [Series] = []
        /// When that was.
        public private(set) var heard: Instant?

        private var instance: UInt64?
        private var incoming: [Series] = []

        init(name: String) { self.name = name }

        mutating func up(_ instance: UInt64, at now: Instant) {
            if let known = self.instance, known != instance {
                restarts += 1
                started = nil
            }
            self.instance = instance
            standing = .incomplete
            incoming = []
        }

        mutating func down(at now: Instant) {
            switch standing {
            case .up, .incomplete: standing = .lost(now)
            case .never, .lost: break
            }
            incoming = []
        }

        mutating func began(uptime: Duration, at now: Instant) {
            incoming.removeAll(keepingCapacity: true)
            // The first word of it counts: later ones only wobble.
            if started == nil { started = now - uptime }
        }

        /// False when it is beyond the bound.
        mutating func add(_ one: Series) -> Bool {
            guard incoming.count < Limits.series else { return false }
            incoming.append(one)
            return true
        }

        mutating func ended(at now: Instant) {
            // Processes tell one pool after the other; readers want one metric after the other.
            incoming.sort { $0.metric.rawValue < $1.metric.rawValue }
            series = incoming
            heard = now
            standing = .up
        }

        public var isUp: Bool {
            switch standing {
            case .up: true
            case .never, .incomplete, .lost: false
            }
        }

        /// Since its last whole round; nil before the first.
        public func age(at now: Instant) -> Duration? { heard.map { max(.zero, now - $0) } }

        /// The series of one metric. O(log n).
        public func series(of metric: Metric) -> ArraySlice<Series> {
            let first = bound { $0 < metric.rawValue }
            let end = bound { $0 <= metric.rawValue }
            return series[first..<end]
        }

        /// The first place whose metric is not `isBefore`.
        private func bound(_ isBefore: (UInt16) -> Bool) -> Int {
            var low = 0
            var high = series.count
            while low < high {
                let middle = low + (high - low) / 2
                if isBefore(series[middle].metric.rawValue) { low = middle + 1 } else { high = middle }
            }
            return low
        }

        /// A number without labels, or with exactly these.
        public func number(_ metric: Metric, _ labels: String...) -> Double? {
            for one in series(of: metric) where one.labels == labels {
                if case .number(let value) = one.value { return value }
            }
            return nil
        }
    }
}
