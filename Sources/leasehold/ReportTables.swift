import Model
import ServiceKit

// The columns of `leasehold show`.

extension Table {
    init(_ pools: [PoolReport]) {
        self.init(
            [
                "POOL", "DEMAND", "QUEUED", "OLDEST", "TOTAL", "READY", "FREE", "LEASED", "ENDING", "RECOVERING", "QUARANTINED", "DRAINING",
                "STATE",
            ],
            rows: pools.map { pool in
                let state =
                    pool.waitsForRecovery
                    ? Cell("waits-for-recovery", .warning) : pool.paused ? Cell("paused", .warning) : Cell("open", .good)
                return [
                    Cell(pool.pool), Cell(pool.demand), Cell(pool.queued, pool.queued > 0 ? .busy : nil),
                    Cell(pool.queued > 0 ? age(pool.oldestWaitMs) : ""), Cell(pool.total, pool.total == 0 ? .warning : nil),
                    Cell(pool.ready),
                    Cell(pool.free), Cell(pool.leased), Cell(pool.ending), Cell(pool.recovering),
                    Cell(pool.quarantined, pool.quarantined > 0 ? .warning : nil), Cell(pool.draining), state,
                ]
            })
    }

    init(_ endpoints: [EndpointReport]) {
        self.init(
            ["POOL", "ENDPOINT", "ADDRESS", "STATE", "LEFT", "LEASES", "SLOTS", "NODE", "ZONE", "NOTES"],
            rows: endpoints.map { endpoint in
                let notes = [
                    endpoint.local ? "local" : nil, endpoint.gone ? "gone" : nil, endpoint.nodeAvoided ? "node-avoided" : nil,
                    endpoint.addresses.count > 1 ? "+\(endpoint.addresses.count - 1) address" : nil,
                ]
                return [
                    Cell(endpoint.pool), Cell(endpoint.name.isEmpty ? endpoint.uid : endpoint.name), Cell(endpoint.addresses.first ?? ""),
                    Cell(endpoint.state, colour(of: endpoint.state)), Cell(endpoint.remainingMs.map(age) ?? ""), Cell(endpoint.leases),
                    Cell(endpoint.slots), Cell(endpoint.node), Cell(endpoint.zone), Cell(notes.compactMap(\.self).joined(separator: ",")),
                ]
            })
    }

    init(_ leases: [LeaseReport]) {
        self.init(
            ["POOL", "LEASE", "ENDPOINT", "ADDRESS", "AGE", "SEAT", "ESCROW", "NOTES"],
            rows: leases.map { lease in
                [
                    Cell(lease.pool), Cell(lease.lease), Cell(lease.endpoint), Cell(lease.address), Cell(age(lease.ageMs)),
                    Cell(lease.seat), Cell(lease.escrowed ? "yes" : "no"),
                    lease.ending ? Cell("ending", .warning) : Cell(lease.probe ? "probe" : ""),
                ]
            })
    }

    private static func notes(_ ticket: TicketReport) -> Cell {
        if ticket.remainingMs == nil { return Cell("dispatcher-away", .warning) }
        return Cell(ticket.requeued ? "requeued" : ticket.waitsForEndpoint ? "waits for its endpoint" : "")
    }

    init(_ tickets: [TicketReport]) {
        self.init(
            ["POOL", "PLACE", "AGE", "LEFT", "URGENCY", "TENANT", "BYTES", "TICKET", "SEAT", "NOTES"],
            rows: tickets.map { ticket in
                [
                    Cell(ticket.pool), Cell(ticket.place), Cell(age(ticket.ageMs)), Cell(ticket.remainingMs.map(age) ?? "", nil),
                    ticket.level == ticket.urgency ? Cell(ticket.urgency) : Cell("\(ticket.urgency) → \(ticket.level)"), Cell(ticket.tenant),
                    Cell(ticket.bytes), Cell(String(ticket.ticket)), Cell(ticket.seat), Self.notes(ticket),
                ]
            })
    }

    init(_ processes: [ProcessReport]) {
        self.init(
            ["PROCESS", "SEAT", "PID", "STATE", "UPTIME", "VERSION", "STATUS"],
            rows: processes.map { process in
                let isDown = process.pid == 0
                let state = isDown ? Cell("down", .bad) : process.ready ? Cell("ready", .good) : Cell("starting", .warning)
                return [
                    Cell(process.process), Cell(process.seat), Cell(isDown ? "" : String(process.pid)), state,
                    Cell(isDown ? "" : age(Int(min(process.uptimeSeconds, 1e12) * 1_000))),
                    Cell(process.version, isDown || process.version == Version.current ? nil : .warning), Cell(process.status),
                ]
            })
    }

    init(_ listeners: [ListenerReport]) {
        self.init(
            ["LISTENER", "PROTOCOL", "ADDRESS", "POOLS"],
            rows: listeners.map { listener in
                var pools: [String] = []
                for pool in listener.pools where !pools.contains(pool) { pools.append(pool) }
                return [Cell(listener.name), Cell(listener.transport), Cell(listener.address), Cell(pools.joined(separator: ","))]
            })
    }

    init(_ workers: [WorkerReport]) {
        self.init(
            ["POOL", "PORT", "PID", "STATE"],
            rows: workers.map { worker in
                [
                    Cell(worker.pool), Cell(String(worker.port)), Cell(String(worker.pid)),
                    Cell(worker.state, worker.state == "ready" ? .good : .busy),
                ]
            })
    }

    /// Its problems are lines of their own.
    init(_ source: SourceReport) {
        let colour: Colour =
            switch source.state {
            case "live": .good
            case "stale": .warning
            default: .bad
            }
        self.init(
            ["SOURCE", "LOCATION", "STATE", "AGE", "GENERATION", "FILES", "ENDPOINTS", "LOCAL", "PROBLEMS"],
            rows: [
                [
                    Cell(source.kind), Cell(source.location), Cell(source.state, colour), Cell(age(source.ageMs)),
                    Cell(String(source.generation)), Cell(source.files), Cell(source.endpoints), Cell(source.localWorkers),
                    Cell(source.problems.count, source.problems.isEmpty ? nil : .warning),
                ]
            ])
    }

    /// The watches of an API server. What is wrong with each is a line of its own.
    init(_ report: KubernetesReport) {
        self.init(
            [
                "WATCH", "SELECTOR", "ACTIVITY", "CONNECTED", "HEARD", "VERSION", "OBJECTS", "EVENTS", "BOOKMARKS", "RELISTS", "ERRORS",
            ],
            rows: report.scopes.map { scope in
                let errors = scope.errors.sorted { $0.key < $1.key }.map { "\($0.value) \($0.key)" }.joined(separator: ", ")
                return [
                    Cell(scope.scope), Cell(scope.selector), Cell(scope.activity, scope.connectedMs == nil ? .warning : .good),
                    Cell(scope.connectedMs.map(age) ?? "-"), Cell(scope.heardMs.map(age) ?? "-"), Cell(scope.resourceVersion),
                    Cell(scope.objects), Cell("\(scope.events)"), Cell("\(scope.bookmarks)"), Cell("\(scope.relists)"),
                    Cell(errors, errors.isEmpty ? nil : .warning),
                ]
            })
    }
}

extension KubernetesReport {
    /// What no column has room for, one fact to a line.
    var lines: [String] {
        var lines = ["\(eventsPerSecond) events a second; \(doubts) lists doubted"]
        if let half = propagationP50Ms, let most = propagationP99Ms {
            lines[0] += "; a change is told within \(half) ms (half of them) and \(most) ms (99 of 100)"
        }
        for scope in scopes where !scope.problem.isEmpty { lines.append("\(scope.scope): \(scope.problem)") }
        if !lastError.isEmpty, !scopes.contains(where: { $0.problem == lastError }), let ago = lastErrorMs {
            lines.append("last error, \(age(ago)) ago: \(lastError)")
        }
        return lines
    }
}

private func colour(of state: String) -> Colour? {
    EndpointState.allCases.first { $0.name == state }.flatMap { state -> Colour? in
        switch state {
        case .free: .good
        case .leased: .busy
        case .ending, .recovering, .quarantined, .draining: .warning
        case .unready: .bad
        }
    }
}
