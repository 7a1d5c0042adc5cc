import KeeperCore
import Model
import Testing
import Wire

@Suite struct HealthTests {
    let probed = policy { $0.health = .init(path: "/healthz", interval: .seconds(10), timeout: .seconds(1)) }

    @Test func aFreeEndpointIsProbedEveryInterval() throws {
        let talk = Dialogue(probed)
        talk.upsert(worker(1))
        var count = 0
        for _ in 1...60 {
            talk.clear()
            talk.pass(.seconds(1))
            for probe in talk.probes {
                count += 1
                #expect(probe.endpoint == worker(1).id && probe.timeout == .seconds(1))
                talk.release(probe.lease, .probePassed)
            }
        }
        #expect((5...7).contains(count))
    }

    @Test func aProbeHoldsTheSlotAndIsNoDemand() {
        let talk = Dialogue(probed)
        talk.upsert(worker(1))
        while talk.probes.isEmpty { talk.pass(.seconds(1)) }
        #expect(talk.state.leased == 1 && talk.state.demand == 0)
        #expect(talk.ask(1) == .held)
        talk.release(talk.probes[0].lease, .probePassed)
        #expect(talk.grantedTickets == [1])
    }

    @Test func aFailedProbeQuarantines() {
        let talk = Dialogue(probed)
        talk.upsert(worker(1))
        while talk.probes.isEmpty { talk.pass(.seconds(1)) }
        talk.release(talk.probes[0].lease, .probeFailed)
        #expect(talk.endpointState(worker(1)) == .quarantined)
        talk.pass(.seconds(2))
        #expect(talk.endpointState(worker(1)) == .free)
    }

    @Test func endpointsThatWorkAreNotProbed() throws {
        let talk = Dialogue(probed)
        talk.upsert(worker(1))
        for id in 1...20 {
            let lease = try talk.lease(UInt64(id)).lease
            talk.pass(.seconds(4))
            talk.release(lease)
            talk.pass(.seconds(2))
        }
        #expect(talk.probes.isEmpty)
    }

    @Test func nobodyIsProbedWithoutADispatcherOrWhilePausedOrRecovering() {
        let talk = Dialogue(probed, serving: false)
        talk.snapshot([(talk.pool, worker(1))])
        talk.pass(.seconds(60))
        #expect(talk.probes.isEmpty)
        talk.connect(instance: 100)
        talk.say(.operated(.pause(talk.pool, refuse: false)))
        talk.pass(.seconds(60))
        #expect(talk.probes.isEmpty)
        talk.say(.operated(.resume(talk.pool)))
        talk.pass(.seconds(60))
        #expect(talk.probes.count == 1)
    }

    @Test func dispatchersTakeTurns() {
        let talk = Dialogue(probed)
        let links = [Dialogue.firstLink, talk.connect(instance: 200)]
        for n in 1...10 { talk.upsert(worker(UInt64(n))) }
        talk.pass(.seconds(20))
        let asked = talk.actions.compactMap { if case .reply(let link, .probe) = $0 { link } else { nil } }
        #expect(asked.count == 10)
        for link in links { #expect(asked.filter { $0 == link }.count == 5) }
    }

    @Test func probesSpreadOverTheInterval() {
        let talk = Dialogue(probed)
        for n in 1...100 {
            var endpoint = worker(UInt64(n))
            endpoint.id = EndpointID(uid: "some-\(n)")
            talk.upsert(endpoint)
        }
        var most = 0
        for _ in 1...20 {
            talk.clear()
            talk.pass(.seconds(1))
            most = max(most, talk.probes.count)
            for probe in talk.probes { talk.release(probe.lease, .probePassed) }
        }
        #expect(most <= 40)
    }

    @Test func aProbeDoesNotEndIdleness() {
        let talk = Dialogue(probed)
        talk.upsert(worker(1, local: true))
        for _ in 1...60 {
            talk.pass(.seconds(1))
            for probe in talk.probes { talk.release(probe.lease, .probePassed) }
            talk.clear()
        }
        talk.say(.scaling(.drainIdle(pool: talk.pool, idleFor: .seconds(60), most: 1)))
        #expect(talk.drained == [worker(1).id])
    }

    @Test func aReloadCanTakeTheProbesAway() {
        let talk = Dialogue(probed)
        talk.upsert(worker(1))
        talk.say(.policiesChanged([policy()]))
        talk.pass(.seconds(60))
        #expect(talk.probes.isEmpty)
        talk.say(.policiesChanged([probed]))
        talk.pass(.seconds(20))
        #expect(talk.probes.count == 1)
    }
}
