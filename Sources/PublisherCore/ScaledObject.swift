import Model
import Wire

/// What a ScaledObject of KEDA's asks of us, from its trigger's metadata: `pool` (one, or several with commas between), `metric`, `target`.
public struct ScaledObject: Sendable, Hashable {
    /// As written, each once.
    public let pools: [String]
    public let metric: ScalingMetric
    /// What one worker should have of the metric.
    public let target: Double

    /// Why a question is not answered, in a sentence that names the key and the remedy.
    public enum Refusal: Error, Sendable, Hashable {
        /// The metadata is wrong.
        case invalid(String)
        /// There is no such pool, or no such metric of it.
        case notFound(String)
        /// Nobody has ever known.
        case blind(String)
    }

    /// One metric of one pool.
    public struct Value: Sendable, Hashable {
        public var name: String
        public var value: Double
        public var age: Duration
    }

    /// `known` are the pools of the configuration. KEDA sends all of a trigger's metadata, its own keys among them: those are passed over.
    public init(metadata: [String: String], known: [String]) throws(Refusal) {
        for key in metadata.keys.sorted() where Self.isMistaken(key) {
            throw .invalid("\(Self.quoted(key)) is no key of Leasehold's: write pool, metric or target")
        }
        pools = try Self.pools(metadata["pool"] ?? "", known)
        metric = try Self.metric(metadata["metric"])
        target = try Self.target(metadata["target"]) ?? metric.defaultTarget
    }

    /// The name of a pool's metric: the same for as long as the pool has its name.
    public func name(of pool: String) -> String { "leasehold-\(metric.rawValue)-\(pool)" }

    /// Whether any of the pools has a job, waiting or served, whatever the metric is: a pool whose queue is empty is not idle.
    public func isActive(in publication: Publication, at now: Instant) throws(Refusal) -> (isActive: Bool, age: Duration) {
        var oldest = Duration.zero
        var unknown: Refusal?
        for name in pools {
            do throws(Refusal) {
                let reading = try reading(of: name, in: publication, at: now)
                if reading.state.demand > 0 { return (true, reading.age) }
                oldest = max(oldest, reading.age)
            } catch .notFound(let text) {
                throw .notFound(text)
            } catch {
                unknown = error
            }
        }
        // One of which nothing is known may have jobs.
        if let unknown { throw unknown }
        return (false, oldest)
    }

    /// The values of the metric with that name, or of all where it is empty.
    public func values(named wanted: String, in publication: Publication, at now: Instant) throws(Refusal) -> [Value] {
        let chosen = wanted.isEmpty ? pools : pools.filter { name(of: $0) == wanted }
        if chosen.isEmpty {
            throw .notFound(
                "metricName \(Self.quoted(wanted)) is none of this ScaledObject's: \(pools.map { name(of: $0) }.joined(separator: ", "))")
        }
        var values: [Value] = []
        for pool in chosen {
            let reading = try reading(of: pool, in: publication, at: now)
            values.append(Value(name: name(of: pool), value: metric.value(of: reading.state), age: reading.age))
        }
        return values
    }

    private func reading(of name: String, in publication: Publication, at now: Instant) throws(Refusal) -> (state: PoolState, age: Duration)
    {
        guard let pool = publication.pool(named: name) else { throw Self.noPool(name, publication.pools.map(\.name)) }
        switch publication.knowledge(of: pool, at: now) {
        case .known(let state, let age): return (state, age)
        case .unknown(let why): throw .blind(why)
        }
    }

    // MARK: Metadata

    /// A key that looks like one of ours and is none would be passed over in silence.
    private static func isMistaken(_ key: String) -> Bool {
        let ours = ["pool", "metric", "target"]
        return !ours.contains(key) && ours.contains { key.lowercased().hasPrefix($0) }
    }

    private static func pools(_ text: String, _ known: [String]) throws(Refusal) -> [String] {
        let names = text.split(separator: ",", omittingEmptySubsequences: false).map { $0.filter { $0 != " " } }
        if names == [""] { throw .invalid("pool is missing: name the pool to scale, or several with commas between") }
        var seen: Set<String> = []
        for name in names {
            if name.isEmpty { throw .invalid("pool \(quoted(text)) has an empty name: write one comma between two names") }
            if !known.contains(name) { throw noPool(name, known) }
            if !seen.insert(name).inserted { throw .invalid("pool \(quoted(text)) names \(name) twice: remove one") }
        }
        return names
    }

    private static func noPool(_ name: String, _ known: [String]) -> Refusal {
        .notFound("pool \(quoted(name)) is not configured: the pools are \(quoted(known.joined(separator: ", "), atMost: 1024))")
    }

    private static func metric(_ text: String?) throws(Refusal) -> ScalingMetric {
        guard let text else { return .demand }
        guard let metric = ScalingMetric(rawValue: text) else {
            throw .invalid("metric \(quoted(text)) is not known: write \(ScalingMetric.allCases.map(\.rawValue).joined(separator: ", "))")
        }
        return metric
    }

    private static func target(_ text: String?) throws(Refusal) -> Double? {
        guard let text else { return nil }
        let isNumber = text.utf8.count <= 12 && text.utf8.allSatisfy { (0x30...0x39).contains($0) || $0 == 0x2e }
        guard isNumber, let target = Double(text), target >= 0.001 else {
            throw .invalid("target \(quoted(text)) is not what one worker should have: write a number above 0, like 1 or 0.8")
        }
        return target
    }

    /// What came from outside, as one short printable line.
    private static func quoted(_ text: String, atMost most: Int = 64) -> String {
        let printable = text.unicodeScalars.prefix(most).map { (0x20..<0x7f).contains($0.value) ? Character($0) : "?" }
        return "'\(String(printable))\(text.unicodeScalars.count > most ? "…" : "")'"
    }
}
