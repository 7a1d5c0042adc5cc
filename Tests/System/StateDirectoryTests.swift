import Foundation
import TestKit
import Testing

/// What the pool-keeper keeps on disk, and for whom.
@Suite(.ownThread) struct StateDirectoryTests {
    @Test func twoPoolKeepersNeverShareAStateDirectory() throws {
        try Fleet.run(Setup.http()) { fleet in
            let worker = try fleet.exampleWorkers(1)[0]
            try fleet.serve([worker.pod])
            // Another installation: all of its own but the state directory.
            let other = "\(fleet.directory)/other.yaml"
            let text = try String(contentsOfFile: fleet.configurationPath, encoding: .utf8)
            try Data(text.replacing(fleet.runtimeDirectory, with: fleet.runtimeDirectory + "2").utf8).write(to: URL(fileURLWithPath: other))
            let epoch = try String(contentsOfFile: "\(fleet.stateDirectory)/pool-keeper/epoch", encoding: .utf8)
            let second = try fleet.spawn("second", Fleet.executable("leasehold-pool-keeper"), ["--config", other])
            #expect(try second.waitForExit() == .status(1))
            #expect(second.output.contains("\(fleet.stateDirectory)/pool-keeper/lock"), "\(second.output)")
            #expect(second.output.contains("state-directory"), "\(second.output)")
            #expect(try String(contentsOfFile: "\(fleet.stateDirectory)/pool-keeper/epoch", encoding: .utf8) == epoch)
            #expect(try fleet.fetch("/render?ms=1&bytes=10").status == 200)
            // It ends with its holder, however that ends.
            try fleet.restart(.poolKeeper)
            #expect(try fleet.fetch("/render?ms=1&bytes=10").status == 200)
        }
    }

    @Test func aPauseAndADrainOutliveTheirPoolKeeper() throws {
        try Fleet.run(Setup.http()) { fleet in
            let workers = try fleet.exampleWorkers(2)
            try fleet.serve(workers.map(\.pod))
            #expect(try fleet.leasehold("drain", workers[0].pod.uid).exit == .status(0))
            #expect(try fleet.leasehold("pause", "pods").exit == .status(0))

            try fleet.restart(.poolKeeper)
            try fleet.waitPool("pods", "what was held back") { !$0.waitsForRecovery && $0.paused && $0.draining == 1 && $0.free == 1 }
            let caller = try fleet.call()
            try caller.get("/render?ms=1&bytes=10")
            try fleet.waitPool("pods", "the held caller") { $0.queued == 1 && $0.leases == 0 }
            #expect(try fleet.leasehold("resume", "pods").exit == .status(0))
            #expect(try caller.readResponse().status == 200)
            #expect(try fleet.leasehold("pause", "pods", "--refuse").exit == .status(0))

            try fleet.restart(.poolKeeper)
            try fleet.waitPool("pods", "what was held back") { !$0.waitsForRecovery && $0.paused && $0.draining == 1 }
            try expectAnswer(try fleet.fetch(), 503, "paused", error: "destination_unavailable", retryAfter: true)
            #expect(try fleet.leasehold("resume", "pods").exit == .status(0))
            #expect(try fleet.leasehold("undrain", workers[0].pod.uid).exit == .status(0))

            try fleet.restart(.poolKeeper)
            try fleet.waitPool("pods", "nothing held back") { !$0.waitsForRecovery && !$0.paused && $0.free == 2 }
        }
    }

    /// It could only guess what it must not grant.
    @Test func pausesThatCannotBeReadStopTheStart() throws {
        try Fleet.run(Setup.http()) { fleet in
            try fleet[.poolKeeper].kill()
            let path = "\(fleet.stateDirectory)/pool-keeper/held-back"
            try Data("pause\n".utf8).write(to: URL(fileURLWithPath: path))
            let stopped = try fleet.launch(.poolKeeper)
            #expect(try stopped.waitForExit() == .status(1))
            #expect(stopped.output.contains(path) && stopped.output.contains("remove the file"), "\(stopped.output)")
            try FileManager.default.removeItem(atPath: path)
            try fleet.launch(.poolKeeper)
            try fleet[.poolKeeper].waitForNotification("READY=1")
        }
    }

    /// The roster is in memory, and gone after a boot: then nobody knows whose jobs may still run.
    @Test func aLostRosterIsWaitedForUnlessNothingWasLeft() throws {
        try Fleet.run(Setup.http(pool: "abandon: 3s", top: "recovery-grace: 100ms")) { fleet in
            let worker = try fleet.exampleWorkers(1)[0]
            try fleet.serve([worker.pod])
            let roster = "\(fleet.runtimeDirectory)/dispatchers.roster"
            #expect(try fleet.fetch("/render?ms=1&bytes=10").status == 200)
            let waited = { () throws -> Int in
                let output = try fleet[.poolKeeper].output
                return try #require(output.matches(of: /after-ms=(\d+)/).last.flatMap { Int($0.1) }, "\(output)")
            }

            try fleet[.poolKeeper].kill()
            try FileManager.default.removeItem(atPath: roster)
            try fleet.launch(.poolKeeper)
            #expect(try fleet.fetch("/render?ms=1&bytes=10").status == 200)
            // Less what the start itself takes.
            #expect(try waited() >= 2500)

            // In order, with no lease.
            try fleet.waitPool("pods", "the end of the job") { $0.leases == 0 }
            try fleet[.poolKeeper].signal(SIGTERM)
            #expect(try fleet[.poolKeeper].waitForExit() == .status(0))
            try FileManager.default.removeItem(atPath: roster)
            try fleet.launch(.poolKeeper)
            #expect(try fleet.fetch("/render?ms=1&bytes=10").status == 200)
            #expect(try waited() < 2500)
        }
    }

    /// A disk may take longer to write than the watchdog waits.
    @Test func theDeathOfADispatcherWaitsForNoDisk() throws {
        try Fleet.run(Setup.http()) { fleet in
            let worker = try fleet.exampleWorkers(1)[0]
            try fleet.serve([worker.pod])
            let directory = "\(fleet.stateDirectory)/pool-keeper"
            let files = {
                try FileManager.default.contentsOfDirectory(atPath: directory).sorted().map { name in
                    let attributes = try FileManager.default.attributesOfItem(atPath: "\(directory)/\(name)")
                    return "\(name) \(String(describing: attributes[.modificationDate])) \(String(describing: attributes[.systemFileNumber]))"
                }
            }
            let before = try files()
            #expect(before.contains { $0.hasPrefix("epoch ") })
            try fleet.restart(.dispatcher)
            #expect(try fleet.fetch("/render?ms=1&bytes=10").status == 200)
            #expect(try files() == before)
        }
    }
}
