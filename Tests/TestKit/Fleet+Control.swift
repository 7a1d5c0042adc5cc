import CLinux
import Foundation
import Model
import Wire

/// What the processes answer when they are asked, and waiting for it.
///
/// The rows name the fields of the JSON once more, as a user's script does, and not by ServiceKit's reports: a field that is renamed there
/// fails here.
extension Fleet {
    public func ask(_ process: Process, _ request: ControlRequest) throws -> ControlAnswer {
        guard let answer = try ControlCall.call("\(runtimeDirectory)/control/\(process.rawValue).sock", request) else {
            throw TestFailure("\(process.rawValue) does not answer")
        }
        return answer
    }

    public func show<Report: Decodable>(_ what: String, of process: Process, as: Report.Type = Report.self) throws -> Report {
        let answer = try ask(process, .show(what))
        guard answer.status == 0 else { throw TestFailure("show \(what): \(answer.message)") }
        do { return try JSONDecoder().decode(Report.self, from: Data(answer.text.utf8)) } catch {
            throw TestFailure("show \(what): \(error): \(answer.text)")
        }
    }

    public struct ListenerRow: Decodable, Sendable {
        public var name: String
        public var address: String
        public var transport: String
        public var pools: [String]
    }

    /// Where a listener really is.
    public func listener(_ name: String = "http") throws -> SocketAddress {
        let rows = try show("listeners", of: .dispatcher, as: [ListenerRow].self)
        guard let row = rows.first(where: { $0.name == name }), let address = SocketAddress(row.address) else {
            throw TestFailure("no listener \(name) in \(rows)")
        }
        return address
    }

    public func call(_ listener: String = "http") throws -> RawCaller { try RawCaller(to: self.listener(listener)) }

    public struct PoolRow: Decodable, Sendable {
        public var pool: String
        public var total: Int
        public var ready: Int
        public var free: Int
        public var leased: Int
        public var ending: Int
        public var recovering: Int
        public var quarantined: Int
        public var draining: Int
        public var unready: Int
        public var leases: Int
        public var queued: Int
        public var demand: Int
        public var oldestWaitMs: Int
        public var paused: Bool
        public var waitsForRecovery: Bool
    }

    public func pool(_ name: String) throws -> PoolRow {
        let rows = try show("pools", of: .poolKeeper, as: [PoolRow].self)
        guard let row = rows.first(where: { $0.pool == name }) else { throw TestFailure("no pool \(name) in \(rows.map(\.pool))") }
        return row
    }

    public struct EndpointRow: Decodable, Sendable {
        public var pool: String
        public var uid: String
        public var name: String
        public var addresses: [String]
        public var state: String
        public var slots: Int
        public var leases: Int
        public var local: Bool
        public var gone: Bool
    }

    public func endpoints() throws -> [EndpointRow] { try show("endpoints", of: .poolKeeper) }

    public struct LeaseRow: Decodable, Sendable {
        public var lease: String
        public var pool: String
        public var endpoint: String
        public var address: String
        public var ageMs: Int
        public var ending: Bool
        public var escrowed: Bool
    }

    public func leases() throws -> [LeaseRow] { try show("leases", of: .poolKeeper) }

    public struct TicketRow: Decodable, Sendable {
        public var pool: String
        public var place: Int
        public var ticket: UInt64
        public var ageMs: Int
        public var requeued: Bool
    }

    public func queue() throws -> [TicketRow] { try show("queue", of: .poolKeeper) }

    public struct ProcessRow: Decodable, Sendable {
        public var pid: Int32
        public var ready: Bool
        public var status: String
        public var counters: [String: UInt64]
    }

    public func counter(_ name: String, of process: Process = .dispatcher) throws -> UInt64 { try counters(of: process)[name] ?? 0 }

    /// All of them by one question: where processes are kept busy, each answer takes its time.
    public func counters(of process: Process = .dispatcher) throws -> [String: UInt64] {
        try show("process", of: process, as: ProcessRow.self).counters
    }

    /// Waits until the pool-keeper's row of a pool is as wanted.
    public func waitPool(_ name: String, _ what: String, _ condition: (PoolRow) -> Bool) throws {
        var last: PoolRow?
        do {
            try self[.poolKeeper].wait("pool \(name): \(what)") {
                last = try pool(name)
                return last.map(condition) ?? false
            }
        } catch {
            throw TestFailure("\(error); last seen: \(last.map { "\($0)" } ?? "nothing")")
        }
    }

    /// Waits until a counter has reached a value.
    public func waitCounter(_ name: String, of process: Process = .dispatcher, atLeast value: UInt64) throws {
        try self[process].wait("\(process.rawValue)'s counter \(name) to reach \(value)") { try counter(name, of: process) >= value }
    }

    /// The same; nil when the process has no descriptor left to answer with.
    public func tryCounter(_ name: String, of process: Process = .dispatcher) throws -> UInt64? {
        guard let answer = try ControlCall.call("\(runtimeDirectory)/control/\(process.rawValue).sock", .show("process"), patient: false)
        else {
            return nil
        }
        return try JSONDecoder().decode(ProcessRow.self, from: Data(answer.text.utf8)).counters[name] ?? 0
    }

    /// Resident memory in bytes (/proc/PID/statm).
    public func memory(of process: Process) throws -> Int {
        let text = (try? String(contentsOfFile: "/proc/\(try self[process].pid)/statm", encoding: .utf8)) ?? ""
        guard let pages = text.split(separator: " ").dropFirst().first.flatMap({ Int($0) }) else { throw TestFailure("no statm: \(text)") }
        return pages * Int(getpagesize())
    }

    /// Seconds of processor time that a process has used (/proc/PID/stat, in hundredths).
    public func processorTime(of process: Process) throws -> Double {
        let text = (try? String(contentsOfFile: "/proc/\(try self[process].pid)/stat", encoding: .utf8)) ?? ""
        // Behind the name, which may hold anything: utime and stime are the 12th and 13th.
        let words = text.split(separator: ")").last?.split(separator: " ") ?? []
        guard words.count > 12, let user = Double(words[11]), let system = Double(words[12]) else { throw TestFailure("no stat: \(text)") }
        return (user + system) / Double(sysconf(Int32(_SC_CLK_TCK)))
    }
}
