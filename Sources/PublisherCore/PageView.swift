import Model
import Wire

/// What one open status page has seen, so that it is told only what it has not.
public struct PageView: Sendable {
    private var lastEvent: UInt64 = 0
    private var cells: [PoolID: UInt64] = [:]

    public init() {}

    /// The next events of its stream.
    public mutating func next(_ publication: Publication, at now: Instant, wall: Double) -> [UInt8] {
        var out: [UInt8] = []
        append("status", publication.pageDocument(at: now), to: &out)
        for (id, value) in publication.cells where cells[id] != value.version {
            cells[id] = value.version
            guard let pool = publication.pool(id) else { continue }
            var text = JSONText()
            text.object {
                $0.value("pool", pool.name)
                $0.value("total", value.total)
                $0.value("states", value.letters)
            }
            append("cells", text.bytes, to: &out)
        }
        let news = publication.events.filter { $0.number > lastEvent }
        if let last = news.map(\.number).max() {
            lastEvent = last
            var text = JSONText()
            text.array { for event in news { publication.describe(event, &$0, at: now, wall: wall) } }
            append("news", text.bytes, to: &out)
        }
        return out
    }

    private func append(_ event: String, _ data: [UInt8], to out: inout [UInt8]) {
        // JSON of ours has no line breaks.
        out.append(contentsOf: "event: \(event)\ndata: ".utf8)
        out.append(contentsOf: data)
        out.append(contentsOf: "\n\n".utf8)
    }
}

extension Publication {
    /// Endpoint by endpoint, while somebody looks.
    public struct Cells: Sendable, Hashable {
        /// All endpoints; more than there are states where they are too many.
        public var total: UInt32
        /// Raw values of ``EndpointState``.
        public var states: [UInt8]
        /// Grows with each change.
        public var version: UInt64

        /// One letter for each.
        var letters: String { String(decoding: states.map { EndpointState(rawValue: $0)?.letter ?? 0x3f }, as: UTF8.self) }
    }

    /// As the page draws it.
    func pageDocument(at now: Instant) -> [UInt8] {
        var text = JSONText()
        text.object {
            $0.value("version", version)
            $0.milliseconds("stateAgeMs", stateAge(at: now))
            $0.object("source") {
                $0.value("state", source.health?.state.name ?? "unknown")
                $0.milliseconds("ageMs", sourceAge(at: now))
                $0.value("detail", source.health?.detail ?? "")
            }
            $0.array("bounds") { for bound in LatencyHistogram.bounds { $0.value(nil, bound.inSeconds) } }
            $0.array("processes") { for process in processes { describe(process, &$0, now) } }
            $0.array("pools") { for pool in pools { draw(pool, &$0, now) } }
        }
        return text.bytes
    }

    private func draw(_ pool: Pool, _ text: inout JSONText, _ now: Instant) {
        text.object {
            $0.value("pool", pool.name)
            guard let state = state(of: pool, at: now) else { return $0.null("states") }
            $0.object("states") { for one in EndpointState.allCases { $0.value(one.name, state.count(of: one)) } }
            $0.value("leases", state.leases)
            $0.value("queued", state.queued)
            $0.value("demand", state.demand)
            $0.value("oldestWaitMs", state.oldestWait.milliseconds)
            $0.value("paused", state.isPaused)
            $0.value("recovering", state.isRecovering)
            $0.array("queue") { rows in
                for urgency in 0..<8 where state.queuedByUrgency[urgency] > 0 {
                    rows.object {
                        $0.value("urgency", urgency)
                        $0.value("queued", state.queuedByUrgency[urgency])
                    }
                }
                for tenant in state.tenantRows {
                    rows.object {
                        $0.value("tenant", tenant.name)
                        $0.value("queued", tenant.queued)
                        $0.value("leased", tenant.leased)
                        $0.value("oldestWaitMs", tenant.oldestWait.milliseconds)
                    }
                }
            }
            histogram("hold", .hold, pool.name, &$0)
            histogram("lease", .leaseDuration, pool.name, &$0)
        }
    }

    /// All outcomes together: one count for each bucket, then those beyond.
    private func histogram(_ name: String, _ metric: Metric, _ pool: String, _ text: inout JSONText) {
        var counts = [UInt64](repeating: 0, count: LatencyHistogram.bounds.count + 1)
        for process in processes {
            for series in process.series(of: metric) where series.labels.first == pool {
                guard case .histogram(let histogram) = series.value else { continue }
                var inside: UInt64 = 0
                for (i, count) in histogram.counts.enumerated() {
                    counts[i] &+= count
                    inside &+= count
                }
                counts[counts.count - 1] &+= histogram.count &- inside
            }
        }
        text.array(name) { for count in counts { $0.value(nil, count) } }
    }

    func describe(_ event: Event, _ text: inout JSONText, at now: Instant, wall: Double) {
        text.object {
            $0.value("number", event.number)
            $0.value("at", ((wall - (now - event.at).inSeconds) * 1000).rounded())
            $0.value("process", event.process)
            $0.value("level", event.event.level.name)
            $0.value("text", event.event.text)
            $0.array("facts") { facts in
                for fact in event.event.facts {
                    facts.array {
                        $0.value(nil, fact.name)
                        $0.value(nil, fact.value)
                    }
                }
            }
        }
    }
}

extension EndpointState {
    /// As the stream of the page names it.
    var letter: UInt8 {
        switch self {
        case .unready: UInt8(ascii: "u")
        case .free: UInt8(ascii: "f")
        case .leased: UInt8(ascii: "l")
        case .ending: UInt8(ascii: "e")
        case .recovering: UInt8(ascii: "r")
        case .quarantined: UInt8(ascii: "q")
        case .draining: UInt8(ascii: "d")
        }
    }
}
