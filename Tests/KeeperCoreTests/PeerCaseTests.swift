import KeeperCore
import Model
import Testing
import Wire

/// What other holders and leasers test, restated for ours; and what their users found missing.
@Suite struct PeerCaseTests {
    // Activators and breakers.

    @Test func twoSlotsAndThreeJobsWithoutAQueueRefuseTheThirdAtOnce() throws {
        let talk = Dialogue(policy { ($0.slots, $0.maxQueued) = (2, 0) })
        talk.upsert(worker(1))
        let first = try talk.lease(1)
        _ = try talk.lease(2)
        #expect(talk.ask(3) == .refused(.queueFull))
        talk.release(first.lease)
        _ = try talk.lease(4)
    }

    @Test func ofTwoJobsOnOneWorkerOneTimesOutAndTheOtherSucceeds() throws {
        let talk = Dialogue(policy { $0.holdTimeout = .milliseconds(100) })
        talk.upsert(worker(1))
        let lease = try talk.lease(1).lease
        talk.ask(2)
        talk.pass(.milliseconds(100))
        #expect(talk.refusedTickets == [2])
        talk.release(lease)
        #expect(talk.state.free == 1)
    }

    @Test func aHundredJobsOnTenWorkersAreAllServedInOrder() {
        let talk = Dialogue(policy())
        for n in 1...10 { talk.upsert(worker(UInt64(n))) }
        var running: [LeaseID] = []
        for id in 1...100 {
            if case .granted(let grant) = talk.ask(UInt64(id)) { running.append(grant.lease) }
        }
        #expect(running.count == 10 && talk.state.queued == 90)
        var served = 0
        while !running.isEmpty {
            talk.pass(.milliseconds(300))
            talk.release(running.removeFirst())
            served += 1
            if talk.grants.count > served + 10 - 1 { running.append(talk.grants[served + 9].lease) }
        }
        #expect(served == 100 && talk.grantedTickets == Array(1...100) && talk.refusals.isEmpty)
    }

    @Test func aNewcomerNeverOvertakesThoseWhoWait() throws {
        let talk = Dialogue(policy())
        talk.upsert(worker(1))
        let lease = try talk.lease(1).lease
        talk.ask(2)
        talk.clear()
        talk.release(lease)
        #expect(talk.ask(3) == .held)
        #expect(talk.grantedTickets == [2])
    }

    @Test func cancelledWaitersGiveTheirPlacesBackAtOnceAndLaterOnesSucceed() throws {
        let talk = Dialogue(policy { $0.maxQueued = 3 })
        talk.upsert(worker(1))
        let lease = try talk.lease(1).lease
        for id in 2...4 { talk.ask(UInt64(id)) }
        #expect(talk.ask(5) == .refused(.queueFull))
        for id in 2...4 { talk.request(.cancel(TicketID(rawValue: UInt64(id)))) }
        for id in 6...8 { #expect(talk.ask(UInt64(id)) == .held) }
        talk.clear()
        talk.release(lease)
        #expect(talk.grantedTickets == [6])
    }

    @Test func anIdleWorkerIsUsedWhicheverDispatcherGotTheCall() throws {
        let talk = Dialogue(policy())
        for n in 1...4 { talk.upsert(worker(UInt64(n))) }
        let links = [Dialogue.firstLink, talk.connect(instance: 200), talk.connect(instance: 300)]
        let endpoints = try (0..<4).map { try talk.lease(UInt64($0), on: links[$0 % 3]).endpoint }
        #expect(Set(endpoints).count == 4)
    }

    @Test func aRefusedConnectionTakesAnotherPodAndTheBadOneIsNotOfferedForAWhile() throws {
        let talk = Dialogue(policy())
        talk.upsert(worker(1))
        talk.upsert(worker(2))
        let bad = try talk.lease(1)
        talk.request(.dialFailed(bad.lease, .refused))
        for id in 2...6 {
            let grant = try talk.lease(UInt64(id))
            #expect(grant.endpoint != bad.endpoint)
            talk.release(grant.lease)
            talk.pass(.milliseconds(300))
        }
    }

    // Flow control.

    @Test func theEndOfAHoldAndAFreeWorkerInOneMomentAnswerTheTicketOnce() throws {
        let talk = Dialogue(policy { $0.holdTimeout = .seconds(5) })
        talk.upsert(worker(1))
        let lease = try talk.lease(1).lease
        talk.ask(2)
        talk.now = talk.now + .seconds(5)
        talk.clear()
        talk.release(lease)
        #expect(talk.grants.count + talk.refusals.count == 1)
        talk.pass(.seconds(60))
        #expect(talk.grants.count + talk.refusals.count == 1)
        #expect(talk.state.queued == 0)
    }

    @Test func anEndpointThatRegistersAgainDoesNotLeakItsOldJob() throws {
        let talk = Dialogue(policy())
        talk.upsert(worker(1))
        let lease = try talk.lease(1).lease
        for _ in 1...5 {
            talk.remove(worker(1))
            talk.upsert(worker(1))
        }
        talk.release(lease)
        talk.release(lease)
        #expect(talk.state.leases == 0 && talk.state.leased == 0 && talk.state.free == 1)
    }

    @Test func churnUnderLoadEndsWithEveryCounterAtZero() throws {
        let talk = Dialogue(policy { $0.slots = 2 })
        for round in 0..<40 {
            let n = UInt64(round % 7 + 1)
            talk.upsert(worker(n))
            talk.ask(UInt64(round * 2 + 1))
            talk.ask(UInt64(round * 2 + 2))
            if round % 3 == 0 { talk.remove(worker(n)) }
            if round % 4 == 0, let report = talk.keeper.leaseReports(at: talk.now).first { talk.release(report.lease) }
        }
        while let report = talk.keeper.leaseReports(at: talk.now).first { talk.release(report.lease) }
        talk.snapshot()
        talk.pass(.seconds(60))
        #expect(talk.state == PoolState(pool: talk.pool))
    }

    // Pools of sessions.

    @Test func aParkedJobIsServedByWhicheverComesFirstAFreedWorkerOrANewOne() throws {
        for isNew in [true, false] {
            let talk = Dialogue(policy())
            talk.upsert(worker(1))
            let lease = try talk.lease(1).lease
            talk.ask(2)
            talk.clear()
            if isNew { talk.upsert(worker(2)) } else { talk.release(lease) }
            #expect(talk.grants.map(\.endpoint) == [worker(isNew ? 2 : 1).id])
        }
    }

    @Test func pausedAndResumedPoolsLoseNobody() throws {
        let talk = Dialogue(policy())
        talk.upsert(worker(1))
        let lease = try talk.lease(1).lease
        talk.say(.operated(.pause(talk.pool, refuse: false)))
        for id in 2...4 { talk.ask(UInt64(id)) }
        talk.clear()
        talk.release(lease)
        #expect(talk.grants.isEmpty && talk.state.free == 1)
        talk.say(.operated(.resume(talk.pool)))
        #expect(talk.grantedTickets == [2])
        #expect(talk.refusals.isEmpty)
    }

    @Test func workersAreNeverGivenTwiceWhileTheFleetShrinks() {
        let talk = Dialogue(policy())
        for n in 1...100 { talk.upsert(worker(UInt64(n))) }
        var taken: Set<EndpointID> = []
        var gone: Set<EndpointID> = []
        for id in 1...100 {
            if id % 5 == 0 {
                gone.insert(worker(UInt64(101 - id)).id)
                talk.remove(worker(UInt64(101 - id)))
            }
            guard case .granted(let grant) = talk.ask(UInt64(id)) else { continue }
            #expect(!gone.contains(grant.endpoint))
            #expect(taken.insert(grant.endpoint).inserted)
        }
        #expect(taken.count >= 80)
    }

    @Test func anEmptyNodeIsDrainedAtOnceAndABusyOneAfterItsLastSession() throws {
        let talk = Dialogue(policy())
        talk.upsert(worker(1))
        talk.upsert(worker(2))
        let busy = try talk.lease(1)
        for uid in ["uid-1", "uid-2"] { talk.say(.operated(.drain(endpoint: uid, pool: nil))) }
        #expect(talk.state.draining == 1 && talk.state.leased == 1)
        #expect(talk.ask(2) == .held)
        talk.release(busy.lease)
        #expect(talk.state.draining == 2)
    }
}
