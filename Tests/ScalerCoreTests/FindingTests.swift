import Model
import ScalerCore
import Testing
import Wire

@Suite struct FindingTests {
    private func entry(_ port: UInt16, _ state: RosterEntry.State, pool config: WorkerPool = pool()) -> RosterEntry {
        RosterEntry(
            pool: config.name, port: port, process: ProcessIdentity(pid: Int32(port), startTime: 77), fingerprint: config.fingerprint,
            state: state)
    }

    @Test func workersOfAnEarlierScalerAreTheSameEndpointsAsBefore() {
        var before = Dialogue()
        _ = before.say(.began([pool()], found: []))
        _ = before.say(.poolState(state(queued: 2)))
        let (_, first, _) = before.run(place(21000))
        let (_, second, _) = before.run(place(21001))

        var after = Dialogue()
        let actions = after.say(.began([pool()], found: before.scaler.roster))
        #expect(actions.orders == [.announce(browsers, first), .announce(browsers, second)])
        #expect(after.scaler.endpoints.map(\.endpoint) == [first, second])
        #expect(after.scaler.roster == before.scaler.roster)
        // It stays as it was found until the keeper speaks, then is scaled as ever.
        #expect(after.wait(.seconds(100)) == [])
        _ = after.say(.scalingUp)
        #expect(after.say(.poolState(state(free: 2))).orders == [.drainIdle(browsers, idleFor: .seconds(30), most: 2)])
    }

    @Test func eachWorkerGoesOnWhereItStood() {
        var d = Dialogue()
        let found = [entry(21000, .starting), entry(21001, .ready), entry(21002, .draining), entry(21003, .stopping)]
        let actions = d.say(.began([pool()], found: found))
        #expect(actions.contains(.probe(place(21000), found[0].process)))
        #expect(actions.contains(.stop(place(21003), found[3].process)))
        #expect(d.scaler.endpoints.map(\.endpoint.addresses[0].port) == [21001, 21002])
        let draining = d.scaler.endpoints[1].endpoint.id
        #expect(d.say(.scalingUp).contains(.drain(draining)))
    }

    @Test func workersOfAPoolThatIsGoneAreDrainedAndStopped() {
        var d = Dialogue()
        let found = entry(21000, .ready)
        _ = d.say(.began([], found: [found]))
        let id = d.scaler.endpoints[0].endpoint.id
        #expect(d.say(.scalingUp) == [.drain(id)])
        #expect(d.say(.drained(id)) == [.withdraw(browsers, id), .stop(place(21000), found.process)])
        _ = d.say(.exited(place(21000), found.process, .unknown, jitter: 0))
        #expect(d.scaler.summaries == [])
    }

    @Test func everyChangeOfAProcessIsSaved() {
        var d = Dialogue()
        #expect(!d.sayAll(.began([pool()], found: [])).contains(.saveRoster))
        #expect(!d.sayAll(.poolState(state(queued: 1))).contains(.saveRoster))
        #expect(!d.sayAll(.portFree(place(21000))).contains(.saveRoster))
        let process = d.newProcess()
        #expect(d.sayAll(.started(place(21000), process)).contains(.saveRoster))
        #expect(d.sayAll(.accepts(place(21000), process)).contains(.saveRoster))
        #expect(d.sayAll(.exited(place(21000), process, .signal(9), jitter: 0)).contains(.saveRoster))
        #expect(d.scaler.roster == [])
    }

    @Test func rosterLinesAreReadAsWritten() {
        for state in RosterEntry.State.allCases {
            let entry = entry(21007, state)
            #expect(RosterEntry(line: entry.line) == entry)
        }
    }

    @Test(arguments: [
        "", "worker", "worker browsers 21000 12 99 abc", "worker browsers 21000 12 99 abc ready more", "worker browsers 0 12 99 abc ready",
        "worker browsers 70000 12 99 abc ready", "worker browsers 21000 -1 99 abc ready", "worker browsers 21000 1 99 abc ready",
        "worker browsers 21000 12 99 xyz ready", "worker browsers 21000 12 99 abc dancing", "worker  21000 12 99 abc ready",
        "worker browsers 21000 99999999999 99 abc ready",
    ])
    func damagedRosterLineIsNoWorker(line: String) { #expect(RosterEntry(line: line) == nil) }

    @Test func commandsThatSplitDifferentlyDiffer() {
        let one = WorkerPool(name: "p", command: ["ab", "c"], ports: Array(1...2), max: 1)
        let two = WorkerPool(name: "p", command: ["a", "bc"], ports: Array(1...2), max: 1)
        #expect(one.fingerprint != two.fingerprint)
    }
}

@Suite struct LinkTests {
    /// What the pool-keeper drained for a scaler that is gone, or said over a link that broke, must not stay drained for ever.
    @Test func servingWorkersAreTakenBackWhenTheLinkComesUp() {
        var d = Dialogue()
        _ = d.say(.began([pool()], found: []))
        _ = d.say(.poolState(state(queued: 1)))
        let (_, endpoint, _) = d.run(place(21000))
        #expect(d.say(.scalingUp) == [.undrain(endpoint.id)])
    }
}
