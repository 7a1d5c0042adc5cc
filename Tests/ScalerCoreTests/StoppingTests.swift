import Model
import ScalerCore
import Testing
import Wire

@Suite struct StoppingTests {
    /// `count` workers that serve, a keeper on both edges, no demand.
    private func fleet(_ count: UInt16, _ config: WorkerPool = pool()) -> (Dialogue, [ProcessIdentity], [Endpoint]) {
        var d = Dialogue()
        _ = d.say(.began([config], found: []))
        _ = d.say(.scalingUp)
        _ = d.say(.poolState(state(queued: UInt32(count))))
        var processes: [ProcessIdentity] = []
        var endpoints: [Endpoint] = []
        for port in 21000..<21000 + count {
            let (process, endpoint, _) = d.run(place(port))
            processes.append(process)
            endpoints.append(endpoint)
        }
        _ = d.say(.poolState(state(leased: UInt32(count))))
        return (d, processes, endpoints)
    }

    @Test func idleWorkersAreDrainedAtTheKeeperBeforeTheyAreStopped() {
        var (d, processes, endpoints) = fleet(2)
        #expect(d.say(.poolState(state(free: 2))).orders == [.drainIdle(browsers, idleFor: .seconds(30), most: 2)])
        // It asks until somebody was idle for long enough, and stops nobody meanwhile.
        let asked = d.wait(.seconds(5))
        #expect(asked.count == 5 && asked.allSatisfy { $0 == .drainIdle(browsers, idleFor: .seconds(30), most: 2) })
        #expect(d.say(.drained(endpoints[1].id)) == [.withdraw(browsers, endpoints[1].id), .stop(place(21001), processes[1])])
        #expect(d.say(.exited(place(21001), processes[1], .signal(15), jitter: 0)).orders == [])
        #expect(d.scaler.endpoints.map(\.endpoint.id) == [endpoints[0].id])
    }

    @Test func aWorkerThatDoesNotEndIsKilled() {
        var (d, processes, endpoints) = fleet(1)
        _ = d.say(.poolState(state(free: 1)))
        _ = d.say(.drained(endpoints[0].id))
        #expect(
            d.wait(.seconds(10)) == [
                .kill(place(21000), processes[0]), .notice(.killed(pool: "browsers", port: 21000, pid: processes[0].pid)),
            ])
        #expect(d.wait(.seconds(100)) == [])
    }

    @Test func demandThatRoseMeanwhileTakesTheDrainedWorkerBack() {
        var (d, _, endpoints) = fleet(2)
        _ = d.say(.poolState(state(leased: 1, free: 1)))
        _ = d.say(.poolState(state(queued: 1, leased: 1, draining: 1)))
        #expect(d.say(.drained(endpoints[1].id)) == [.undrain(endpoints[1].id)])
    }

    @Test func drainedSingleUseWorkerIsNeverTakenBack() {
        var (d, processes, endpoints) = fleet(1, pool(singleUse: true))
        let actions = d.say(.drained(endpoints[0].id))
        #expect(actions.orders == [.withdraw(browsers, endpoints[0].id), .stop(place(21000), processes[0]), .check(place(21001))])
    }

    @Test func minimumIsKept() {
        var (d, _, _) = fleet(3, pool(min: 2))
        #expect(d.say(.poolState(state(free: 3))).orders == [.drainIdle(browsers, idleFor: .seconds(30), most: 1)])
    }

    @Test func stoppingProcessCountsAgainstTheMaximum() {
        var (d, processes, endpoints) = fleet(2, pool(max: 2))
        _ = d.say(.poolState(state(free: 2)))
        _ = d.say(.drained(endpoints[0].id))
        #expect(d.say(.poolState(state(queued: 5, leased: 1))).orders == [])
        #expect(d.say(.exited(place(21000), processes[0], .signal(15), jitter: 0)).orders == [.check(place(21000))])
    }

    @Test func nothingChangesWhileTheKeeperIsAway() {
        var (d, processes, endpoints) = fleet(2)
        _ = d.say(.poolState(state(free: 2)))
        #expect(d.say(.stateLost).orders == [])
        #expect(d.say(.scalingLost).orders == [])
        #expect(d.wait(.seconds(600)) == [])
        // The fleet stays as it is: one that crashes comes back.
        #expect(d.say(.exited(place(21000), processes[0], .signal(9), jitter: 0)).orders == [.withdraw(browsers, endpoints[0].id)])
        #expect(d.wait(.seconds(1)) == [.check(place(21000))])
    }

    @Test func recoveringKeeperIsNotBelieved() {
        var (d, _, _) = fleet(2)
        var blind = state()
        blind.isRecovering = true
        #expect(d.say(.poolState(blind)).orders == [])
        #expect(d.wait(.seconds(100)) == [])
        #expect(d.say(.poolState(state(free: 2))).orders == [.drainIdle(browsers, idleFor: .seconds(30), most: 2)])
    }

    @Test func workerThatAnOperatorDrainedIsReplaced() {
        var (d, _, _) = fleet(1)
        #expect(d.say(.poolState(state(draining: 1))).orders == [])  // nobody waits, and the drained one counts as set aside
        #expect(d.say(.poolState(state(queued: 1, draining: 1))).orders == [.check(place(21001))])
    }

    @Test func workerThatTheWatcherHasNotPassedOnIsNotTakenForDrained() {
        var (d, _, _) = fleet(1)
        #expect(d.say(.poolState(state(queued: 1))).orders == [])
    }

    @Test func lowerMaximumTakesIdleWorkersAtOnceAndLeasedOnesLater() {
        var (d, processes, endpoints) = fleet(3)
        _ = d.say(.poolState(state(leased: 2, free: 1)))
        #expect(d.say(.configured([pool(max: 1)])).orders == [.drainIdle(browsers, idleFor: .zero, most: 2)])
        #expect(d.say(.drained(endpoints[2].id)) == [.withdraw(browsers, endpoints[2].id), .stop(place(21002), processes[2])])
        _ = d.say(.exited(place(21002), processes[2], .signal(15), jitter: 0))
        #expect(d.wait(.seconds(1)) == [.drainIdle(browsers, idleFor: .zero, most: 1)])
    }

    @Test func poolThatIsNoLongerConfiguredDrainsAndEnds() {
        var (d, processes, endpoints) = fleet(2)
        #expect(d.say(.configured([])).orders == [.drain(endpoints[0].id), .drain(endpoints[1].id)])
        // Level-triggered: a keeper that restarted is told again.
        #expect(d.say(.scalingUp) == [.drain(endpoints[0].id), .drain(endpoints[1].id)])
        for i in 0..<2 {
            let at = place(UInt16(21000 + i))
            #expect(d.say(.drained(endpoints[i].id)) == [.withdraw(browsers, endpoints[i].id), .stop(at, processes[i])])
            _ = d.say(.exited(at, processes[i], .signal(15), jitter: 0))
        }
        #expect(d.scaler.summaries == [] && d.scaler.roster == [])
    }

    @Test func newCommandReplacesTheFleetOneByOne() {
        var (d, processes, endpoints) = fleet(2)
        var changed = pool()
        changed.command = ["other"]
        // Its successor starts at once, as the maximum leaves room.
        #expect(d.say(.configured([changed])).orders == [.drain(endpoints[0].id), .check(place(21002))])
        #expect(
            d.say(.drained(endpoints[0].id)).orders == [.withdraw(browsers, endpoints[0].id), .stop(place(21000), processes[0])])
        // The second waits until the first one's successor serves and the first one is gone.
        #expect(d.run(place(21002)).2.orders.contains { if case .drain = $0 { true } else { false } } == false)
        #expect(
            d.say(.exited(place(21000), processes[0], .signal(15), jitter: 0)).orders == [.drain(endpoints[1].id), .check(place(21000))])
    }

    @Test func brokenNewCommandCostsOneWorkerOnly() {
        var (d, processes, endpoints) = fleet(2)
        var changed = pool()
        changed.command = ["missing"]
        _ = d.say(.configured([changed]))
        _ = d.say(.drained(endpoints[0].id))
        _ = d.say(.portFree(place(21002)))
        _ = d.say(.exited(place(21000), processes[0], .signal(15), jitter: 0))
        _ = d.say(.startFailed(place(21002), reason: "x", jitter: 0))
        let actions = d.wait(.seconds(60))
        #expect(!actions.contains(.drain(endpoints[1].id)))
    }

    @Test func lateAnswersAboutTheGoneAreIgnored() {
        var (d, processes, endpoints) = fleet(1)
        _ = d.say(.poolState(state(free: 1)))
        _ = d.say(.exited(place(21000), processes[0], .signal(9), jitter: 0))
        #expect(d.say(.drained(endpoints[0].id)) == [])
        #expect(d.say(.accepts(place(21000), processes[0])) == [])
        #expect(d.say(.silent(place(21000), processes[0])) == [])
    }
}
