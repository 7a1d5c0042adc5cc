import Foundation
import Linux
import ServiceKit
import Synchronization
import Testing
import Wire

@testable import leasehold

/// A process's control edge on a thread of its own, in a directory of its own.
private final class FakeProcess: Sendable {
    let configuration: Configuration
    let directory: String

    /// Ready when it returns. `answer` runs on the fake's thread.
    init(_ name: ProcessName, answer: (@Sendable (ControlRequest) -> ControlAnswer)?) throws {
        directory = FileManager.default.temporaryDirectory.appending(path: "lh-\(UUID().uuidString.prefix(8))").path()
        try FileManager.default.createDirectory(atPath: directory + "/run/control", withIntermediateDirectories: true)
        configuration = try Configuration.parse(
            "runtime-directory: run\npools: [{ name: a, workers: { command: [w], ports: 9000 } }]\n", file: directory + "/leasehold.yaml")
        guard let answer else { return }
        let path = configuration.controlPath(name)
        let listening = DispatchSemaphore(value: 0)
        Thread.detachNewThread {
            // Lives as long as the tests do.
            do {
                let loop = try Loop()
                let server = try ControlServer(
                    path: path, listener: nil, hello: Hello(edge: .control, seat: "0", instance: 1), outbox: Outbox(loop: loop)
                ) { request, _ in answer(request) }
                listening.signal()
                try withExtendedLifetime(server) { try loop.run() }
            } catch {
                Issue.record("the fake process failed: \(error)")
                listening.signal()
            }
        }
        listening.wait()
    }

    deinit { try? FileManager.default.removeItem(atPath: directory) }

    func failure(_ body: (Operator) throws -> Void) -> Operator.Failure? {
        do {
            try body(Operator(configuration))
            return nil
        } catch {
            return error as? Operator.Failure
        }
    }
}

@Suite struct ControlEdges {
    @Test func aReportOfManyPartsArrivesWhole() throws {
        let rows = (0..<5_000).map { ListenerReport(name: "listener-\($0)-é", address: "127.0.0.1:\($0)", transport: "tcp", pools: ["a"]) }
        let process = try FakeProcess(.dispatcher) { request in
            request == .show("listeners") ? .json(rows) : .failed(status: 64, "no")
        }
        #expect(try Operator(process.configuration).report([ListenerReport].self, from: .dispatcher, "listeners") == rows)
    }

    @Test func aRefusalKeepsItsStatusAndItsWords() throws {
        let process = try FakeProcess(.poolKeeper) { _ in .failed(status: 64, "there is no pool 'x'") }
        let failure = process.failure { _ = try $0.report([PoolReport].self, from: .poolKeeper, "pools") }
        #expect(failure?.status == 64)
        #expect(failure?.message == "there is no pool 'x'")
    }

    @Test func aProcessThatDoesNotRunIsNamedWithItsUnit() throws {
        let process = try FakeProcess(.poolKeeper, answer: nil)
        let failure = process.failure { _ = try $0.report([PoolReport].self, from: .poolKeeper, "pools") }
        #expect(failure?.status == ExitStatus.unavailable.rawValue)
        #expect(failure?.message.contains("`systemctl start leasehold-pool-keeper`") == true)
    }

    @Test func anAnswerOfAnotherShapeIsTakenForAnotherVersion() throws {
        let process = try FakeProcess(.poolKeeper) { _ in .report("{\"pools\":[]}") }
        let failure = process.failure { _ = try $0.report([PoolReport].self, from: .poolKeeper, "pools") }
        #expect(failure?.status == ExitStatus.protocol.rawValue)
    }

    @Test func verbsArriveAsTheyWereGiven() throws {
        let seen = Mutex<[ControlRequest]>([])
        let process = try FakeProcess(.poolKeeper) { request in
            seen.withLock { $0.append(request) }
            return .done("")
        }
        let `operator` = Operator(process.configuration)
        try `operator`.order(.poolKeeper, .quarantine(endpoint: "browser-0", pool: "", duration: .seconds(60)))
        try `operator`.order(.poolKeeper, .pause(pool: "a", refuse: true))
        #expect(
            seen.withLock(\.self) == [
                .quarantine(endpoint: "browser-0", pool: "", duration: .seconds(60)), .pause(pool: "a", refuse: true),
            ])
    }

    @Test func processesThatAreDownAreShownAsDown() throws {
        let process = try FakeProcess(.watcher, answer: nil)
        let show = try #require(try Leasehold.parseAsRoot(["show", "processes", "--json"]) as? Show)
        let text = try show.look(Operator(process.configuration))
        let reports = try JSONDecoder().decode([ProcessReport].self, from: Data(text.utf8))
        // The file has no asset cache and no publisher.
        #expect(reports.map(\.process) == ProcessName.allCases.filter { $0 != .assetCache && $0 != .publisher }.map(\.rawValue))
        #expect(reports.allSatisfy { $0.pid == 0 && !$0.ready && $0.status == "not running" })
    }

    @Test func aFileForAnAssetCacheAloneShowsNothingElse() throws {
        let configuration = try Configuration.parse("runtime-directory: /nonexistent\nasset-cache: { size: 1GiB }", file: "/t.yaml")
        let show = try #require(try Leasehold.parseAsRoot(["show", "processes", "--json"]) as? Show)
        let reports = try JSONDecoder().decode([ProcessReport].self, from: Data(try show.look(Operator(configuration)).utf8))
        #expect(reports.map(\.process) == ["asset-cache"])
    }
}
