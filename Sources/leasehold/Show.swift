import ArgumentParser
import Foundation
import ServiceKit

/// `leasehold show WHAT`: what the processes say of themselves, as a table or as JSON.
struct Show: ParsableCommand {
    static let configuration = CommandConfiguration(
        abstract: "Show pools, endpoints, leases, the queue, processes, listeners, local workers or the source.",
        discussion: "With --watch and --json, each look is one line.")

    enum What: String, CaseIterable, ExpressibleByArgument {
        case pools
        case endpoints
        case leases
        case queue
        case processes
        case listeners
        case workers
        case source
    }

    @OptionGroup var options: DaemonOptions

    @Argument(help: "What to show.")
    var what: What

    @Option(help: "Only this pool.")
    var pool: String?

    @Flag(help: "Print JSON.")
    var json = false

    @Flag(help: "Look again and again.")
    var watch = false

    @Option(help: "How often --watch looks, like 500ms or 2s.", transform: durationArgument)
    var interval = Duration.seconds(1)

    func validate() throws {
        if pool != nil, what == .processes || what == .listeners || what == .source {
            throw ValidationError("--pool goes with pools, endpoints, leases, queue and workers")
        }
        guard interval >= .milliseconds(100) else { throw ValidationError("--interval is too short; write at least 100ms") }
    }

    func run() throws {
        let `operator` = try Operator(options)
        guard watch else {
            do throws(Operator.Failure) { Terminal.write(try look(`operator`)) } catch { throw error.exit }
            return
        }
        // A process that is away for a moment, and comes back, is what one watches for.
        while true {
            var text: String
            do throws(Operator.Failure) { text = try look(`operator`) } catch { text = json ? "" : "leasehold: \(error.message)\n" }
            if Terminal.isInteractive, !json { text = Terminal.clear + text }
            Terminal.write(text)
            Terminal.pause(interval)
        }
    }

    /// One answer, as it is printed.
    func look(_ asked: Operator) throws(Operator.Failure) -> String {
        switch what {
        case .pools:
            let all = try asked.report([PoolReport].self, from: .poolKeeper, "pools")
            let some = try chosen(all, \.pool, asked)
            return try text(some) { Table(some) }
        case .endpoints:
            let all = try asked.report([EndpointReport].self, from: .poolKeeper, "endpoints")
            let some = try chosen(all, \.pool, asked)
            return try text(some) { Table(some) }
        case .leases:
            let all = try asked.report([LeaseReport].self, from: .poolKeeper, "leases")
            let some = try chosen(all, \.pool, asked)
            return try text(some) { Table(some) }
        case .queue:
            let all = try asked.report([TicketReport].self, from: .poolKeeper, "queue")
            let some = try chosen(all, \.pool, asked)
            return try text(some) { Table(some) }
        case .listeners:
            var all: [ListenerReport] = []
            if asked.configuration.names(.dispatcher) { all += try asked.report([ListenerReport].self, from: .dispatcher, "listeners") }
            for other in [ProcessName.assetCache, .publisher] where asked.configuration.names(other) {
                // Callers' listeners are what one asks for; what else is away does not hide them.
                all += (try? asked.report([ListenerReport].self, from: other, "listeners")) ?? []
            }
            return try text(all) { Table(all) }
        case .workers:
            let all = try asked.report([WorkerReport].self, from: .scaler, "workers")
            let some = try chosen(all, \.pool, asked)
            return try text(some) { Table(some) }
        case .source:
            let source = try asked.report(SourceReport.self, from: .watcher, "source")
            let table = try text([source]) { Table(source) }
            guard !json else { return try encoded(source) }
            let watches = source.kubernetes.map { Table($0).render(coloured: Terminal.hasColour) } ?? ""
            // A watch's problem is told with its name.
            let isTold = source.kubernetes?.scopes.contains { $0.problem == source.detail } ?? false
            let lines = (source.detail.isEmpty || isTold ? [] : [source.detail]) + source.problems + (source.kubernetes?.lines ?? [])
            return table + watches + lines.map { Cell($0).text + "\n" }.joined()
        case .processes:
            let all = processes(asked)
            return try text(all) { Table(all) }
        }
    }

    /// Every process that the file is for, also those that do not answer: they are why one asks.
    private func processes(_ asked: Operator) -> [ProcessReport] {
        return ProcessName.allCases.filter(asked.configuration.names).map { name in
            do throws(Operator.Failure) {
                return try asked.report(ProcessReport.self, from: name, "process")
            } catch {
                let status = error.status == ExitStatus.unavailable.rawValue ? "not running" : error.message
                return ProcessReport(
                    process: name.rawValue, seat: "", pid: 0, version: "", instance: "", ready: false, status: status, uptimeSeconds: 0,
                    counters: [:])
            }
        }
    }

    /// The rows of `--pool`; a pool that the file does not name is a slip.
    private func chosen<Row>(_ rows: [Row], _ property: KeyPath<Row, String>, _ asked: Operator) throws(Operator.Failure) -> [Row] {
        guard let pool else { return rows }
        let some = rows.filter { $0[keyPath: property] == pool }
        if some.isEmpty, asked.configuration.pool(named: pool) == nil {
            let names = asked.configuration.pools.map(\.name).joined(separator: ", ")
            throw Operator.Failure(status: ExitStatus.usage.rawValue, message: "there is no pool named \(pool); the pools are: \(names)")
        }
        return some
    }

    private func text<Row: Encodable>(_ rows: [Row], _ table: () -> Table) throws(Operator.Failure) -> String {
        if json { return try encoded(rows) }
        if rows.isEmpty { return "Nothing: no \(what == .queue ? "waiting jobs" : what.rawValue).\n" }
        return table().render(coloured: Terminal.hasColour)
    }

    private func encoded(_ value: some Encodable) throws(Operator.Failure) -> String {
        let encoder = JSONEncoder()
        encoder.outputFormatting = [.sortedKeys, .withoutEscapingSlashes]
        do {
            return String(decoding: try encoder.encode(value), as: UTF8.self) + "\n"
        } catch {
            throw Operator.Failure(status: ExitStatus.software.rawValue, message: "a report cannot be written as JSON: \(error)")
        }
    }
}
