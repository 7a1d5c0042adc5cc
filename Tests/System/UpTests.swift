import CLinux
import Foundation
import Linux
import Model
import TestKit
import Testing

/// `leasehold up`: everything in the foreground, by the service manager's own protocols.
@Suite(.ownThread) struct UpTests {
    private struct Ready: Decodable {
        var pid: Int32
        var processes: [String: Int32]
        var listeners: [Fleet.ListenerRow]
    }

    private static func workers() throws -> String {
        let ports = try FreePorts.take(4)
        return """
            pools:
              - name: pods
                workers: { command: [leasehold-example-worker, --port, "{port}"], ports: \(ports.lowerBound)-\(ports.upperBound), min: 2, max: 4 }
            listeners: [{ name: http, address: "127.0.0.1:0", protocol: http, pool: pods }]
            """
    }

    /// Starts `up`, waits until every process is ready, and hands over what it says of them.
    private func withUp(
        _ configuration: String? = nil, _ arguments: [String] = [], _ body: (Fleet, Daemon, Ready) throws -> Void
    ) throws {
        try Fleet.run(try configuration ?? Self.workers(), []) { fleet in
            let file = fleet.directory + "/ready"
            let up = try fleet.spawn(
                "up", "\(Launch.bin)/leasehold", ["up", "--config", fleet.configurationPath, "--ready-file", file] + arguments)
            try up.wait("the ready file") { FileManager.default.fileExists(atPath: file) }
            let ready = try JSONDecoder().decode(Ready.self, from: try Data(contentsOf: URL(fileURLWithPath: file)))
            try body(fleet, up, ready)
        }
    }

    private func address(_ ready: Ready) throws -> SocketAddress {
        guard let address = ready.listeners.first.flatMap({ SocketAddress($0.address) }) else { throw TestFailure("no listener") }
        return address
    }

    private func fetch(_ ready: Ready) throws -> Int {
        let caller = try RawCaller(to: try address(ready))
        return try caller.fetch("/render?ms=1").status
    }

    /// Processes that were started with this fleet's environment and still live, `up` itself left out.
    private func left(of fleet: Fleet) throws -> [Int32] {
        let mark = Data(Array("LEASEHOLD_FLEET=\(fleet.directory)".utf8) + [0])
        return try FileManager.default.contentsOfDirectory(atPath: "/proc").compactMap { Int32($0) }.filter { pid in
            FileManager.default.contents(atPath: "/proc/\(pid)/environ").map { !$0.isEmpty && $0.range(of: mark) != nil } ?? false
        }
    }

    private func waitUntilNobodyIsLeft(_ fleet: Fleet) throws {
        let deadline = Patience.deadline()
        while case let pids = try left(of: fleet), !pids.isEmpty {
            guard monotonicNow() < deadline else { throw TestFailure("still there: \(pids)") }
            _ = poll(nil, 0, 10)
        }
    }

    @Test func everyProcessIsReadyAndAJobIsServed() throws {
        try withUp { _, _, ready in
            #expect(Set(ready.processes.keys) == ["watcher", "pool-keeper", "dispatcher", "scaler"])
            let status = try fetch(ready)
            #expect(status == 200)
        }
    }

    @Test(arguments: [SIGTERM, SIGINT])
    func aSignalFinishesTheJobInHandAndLeavesNoProcessBehind(signal: Int32) throws {
        try withUp { fleet, up, ready in
            let caller = try RawCaller(to: try address(ready))
            try caller.get("/render?ms=700&bytes=10")
            try fleet.waitForLease(up)
            up.signal(signal)
            #expect(try caller.readResponse().status == 200)
            #expect(try up.waitForExit() == .status(0))
            #expect(try left(of: fleet) == [])
        }
    }

    @Test func aSecondSignalStopsAtOnce() throws {
        try withUp { fleet, up, ready in
            let caller = try RawCaller(to: try address(ready))
            try caller.get("/render?ms=60000")
            try fleet.waitForLease(up)
            up.signal(SIGTERM)
            try up.wait("the drain to begin") { up.output.contains("jobs in hand") }
            up.signal(SIGINT)
            #expect(try up.waitForExit() == .status(0))
            #expect(try left(of: fleet) == [])
        }
    }

    @Test func killMinusNineLeavesNoProcessBehind() throws {
        try withUp { fleet, up, ready in
            #expect(try fetch(ready) == 200)
            try up.kill()
            try waitUntilNobodyIsLeft(fleet)
        }
    }

    @Test(arguments: ["watcher", "pool-keeper", "dispatcher", "scaler"])
    func aProcessThatIsKilledIsStartedAgainAndJobsAreServed(name: String) throws {
        try withUp { fleet, up, ready in
            #expect(try fetch(ready) == 200)
            let pid = try #require(ready.processes[name])
            _ = lh_kill(pid, SIGKILL)
            let process = try #require(Fleet.Process(rawValue: name))
            try up.wait("\(name) to come back") {
                (try? fleet.show("process", of: process, as: Fleet.ProcessRow.self)).map { $0.pid != pid && $0.ready } ?? false
            }
            #expect(try fetch(ready) == 200)
        }
    }

    /// The listening socket is `up`'s: a caller that comes while there is no dispatcher waits in the backlog.
    @Test func theListenerOutlivesTheDispatcher() throws {
        try withUp { _, _, ready in
            _ = lh_kill(try #require(ready.processes["dispatcher"]), SIGKILL)
            #expect(try fetch(ready) == 200)
        }
    }

    @Test func aProcessThatIsStoppedMissesItsWatchdogAndIsReplaced() throws {
        try withUp(nil, ["--watchdog", "1"]) { fleet, up, ready in
            let pid = try #require(ready.processes["watcher"])
            _ = lh_kill(pid, SIGSTOP)
            try up.wait("another watcher") {
                (try? fleet.show("process", of: .watcher, as: Fleet.ProcessRow.self)).map { $0.pid != pid && $0.ready } ?? false
            }
            #expect(up.output.contains("watcher has not spoken for 1000 ms"))
            #expect(try fetch(ready) == 200)
        }
    }

    /// Ctrl-Z and `fg`: what the processes said meanwhile was not read, so none of them was silent.
    @Test func whoStoodStillItselfBlamesNobody() throws {
        try withUp(nil, ["--watchdog", "1"]) { fleet, up, ready in
            try up.signal(SIGSTOP)
            // Longer than the watchdog and what counts as late.
            _ = poll(nil, 0, 2500)
            try up.signal(SIGCONT)
            try up.signal(SIGHUP)
            try up.wait("its next turns") { up.output.contains("reloading") }
            #expect(try fetch(ready) == 200)
            #expect(!up.output.contains("has not spoken"))
            for (name, pid) in ready.processes { #expect(lh_kill(pid, 0) == 0, "\(name)") }
        }
    }

    @Test func aHangUpReloadsEveryProcess() throws {
        try withUp { _, up, _ in
            up.signal(SIGHUP)
            try up.wait("four reloads") { up.output.components(separatedBy: "Configuration reloaded").count == 5 }
        }
    }

    @Test func withoutLocalWorkersThereIsNoScaler() throws {
        try withUp(Setup.http()) { _, _, ready in #expect(Set(ready.processes.keys) == ["watcher", "pool-keeper", "dispatcher"]) }
    }

    @Test func aSecondUpInTheSameDirectoryIsRefused() throws {
        try withUp { fleet, _, _ in
            let second = try fleet.spawn("second", "\(Launch.bin)/leasehold", ["up", "--config", fleet.configurationPath])
            #expect(try second.waitForExit() == .status(69))
            #expect(second.output.contains("does another `leasehold up` run?"))
        }
    }

    @Test func aWrongConfigurationEndsItWithItsPlace() throws {
        try Fleet.run("pools: [{ nmae: pods, workers: { command: [x], ports: 1-2 } }]", []) { fleet in
            let up = try fleet.spawn("up", "\(Launch.bin)/leasehold", ["up", "--config", fleet.configurationPath])
            #expect(try up.waitForExit() == .status(78))
            #expect(up.output.contains("leasehold.yaml:"))
        }
    }

    /// The README's first command, with everything that it claims.
    @Test func theDemoProvesWhatItClaimsAndCleansUp() throws {
        try Fleet.run(Setup.http(), []) { fleet in
            let demo = try fleet.spawn("demo", "\(Launch.bin)/leasehold", ["demo"])
            #expect(try demo.waitForExit() == .status(0), "\(demo.output)")
            #expect(demo.output.contains("What was proved") && !demo.output.contains("✗"))
            #expect(try left(of: fleet) == [])
        }
    }
}

extension Fleet {
    /// Until the pool-keeper, started by `up`, has granted one lease.
    fileprivate func waitForLease(_ up: Daemon) throws {
        try up.wait("a lease") { (try? pool("pods")).map { $0.leases == 1 } ?? false }
    }
}
