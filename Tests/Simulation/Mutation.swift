import DispatcherCore
import KeeperCore
import Model
import Wire

/// A way to break the product on purpose: the simulation must notice each of them.
enum Mutation: CaseIterable {
    /// The pool-keeper grants after its start without waiting for those who may hold leases.
    case forgetsRoster
    /// It leaves an empty roster behind when it stops in order.
    case forgetsHoldersAtStop
    /// It has nothing on disk of the endpoints that the dead have left behind.
    case forgetsTheDead
    /// It takes a leased endpoint back when its source says that it is unready.
    case freesOnBlink
    /// It takes a lease back when the caller has left.
    case releasesOnEnding
    /// It takes a dispatcher for dead when its link ends.
    case buriesTheSilent
    /// It ends a lease after a while.
    case timesLeasesOut
    /// It begins its tokens anew after a restart.
    case reusesEpoch
    /// It does not believe the age of a job that comes back.
    case forgetsArrival
    /// The watcher says empty where it knows nothing.
    case emptyWhileUnknown
    /// The dispatcher does not tell what it holds.
    case assertsNothing
    /// It does not tell again who waits.
    case forgetsTickets
    /// It does not tell again what it has cut a moment ago.
    case forgetsCuts
    /// It forgets to release.
    case neverReleases
    /// It does not give an unused grant back.
    case keepsUnused
    /// It does not say that the caller left the line.
    case neverCancels
    /// It serves a caller that it knows to have left.
    case keepsDeadCallers
    /// It tries a job again that a worker had begun.
    case triesAgain
    /// It calls a worker free that it had to reset.
    case trustsResets

    // Escrow and adoption.

    /// The pool-keeper takes a successor's adoption for complete at its hello.
    case grantsBeforeAdoption
    /// It counts a death before it has read what the dead one said last.
    case buriesTheUnread
    /// It hands over nothing of what it keeps.
    case handsNothingOver
    /// It hands over those who wait, and not the sessions.
    case handsOverOnlyCallers
    /// When nobody adopts in time it cuts no worker off.
    case neverFences
    /// The dispatcher sends a job's first byte before its worker is in escrow.
    case sendsBeforeEscrow
    /// Its release goes before the last byte to the caller.
    case releasesBeforeTheLastByte
    /// It accepts callers before it has adopted.
    case acceptsBeforeAdopting
    /// It begins the jobs of adopted sessions again.
    case beginsAdoptedJobsAgain

    /// What has to go wrong before the rarest of them show.
    var trouble: Trouble.Kind? {
        switch self {
        case .forgetsTheDead: .killBoth
        case .forgetsHoldersAtStop: .endKeeper
        case .buriesTheSilent: .breakLeasing
        case .forgetsRoster, .freesOnBlink, .releasesOnEnding, .timesLeasesOut, .reusesEpoch, .forgetsArrival, .emptyWhileUnknown, .assertsNothing,
            .forgetsTickets, .forgetsCuts, .neverReleases, .keepsUnused, .neverCancels, .keepsDeadCallers, .triesAgain, .trustsResets, .grantsBeforeAdoption, .buriesTheUnread, .handsNothingOver, .handsOverOnlyCallers, .neverFences,
            .sendsBeforeEscrow, .releasesBeforeTheLastByte, .acceptsBeforeAdopting, .beginsAdoptedJobsAgain: nil
        }
    }

    /// What the pool-keeper's machine hears in place of the input.
    func rewrite(_ input: Keeper.Input, _ process: KeeperProcess) -> [Keeper.Input] {
        let leases = process.keeper?.leaseReports(at: process.now) ?? []
        func release(_ lease: LeaseReport) -> [Keeper.Input] {
            guard let peer = process.peers.first(where: { $0.instance == lease.instance }) else { return [] }
            return [.request(peer.link, .release(lease.lease, .served))]
        }
        switch (self, input) {
        case (.freesOnBlink, .endpoints(.upsert(_, let endpoint))) where !endpoint.isUsable:
            return [input] + leases.filter { $0.endpoint == endpoint.id }.flatMap(release)
        case (.releasesOnEnding, .request(let link, .ending(let lease))): return [.request(link, .release(lease, .abandoned))]
        case (.buriesTheSilent, .dispatcherLinkEnded(let link)):
            guard let peer = process.peer(link) else { return [input] }
            return [input, .dispatcherDied(peer.instance)]
        case (.grantsBeforeAdoption, .dispatcherConnected(let link, _, _)): return [input, .request(link, .asserted)]
        case (.timesLeasesOut, _): return [input] + leases.filter { $0.age > .seconds(2) }.flatMap(release)
        case (.forgetsArrival, .request(let link, .ticket(var ticket))) where ticket.isRequeued:
            ticket.age = .zero
            return [.request(link, .ticket(ticket))]
        default: return [input]
        }
    }

    /// Whether the dispatcher does not do what its machine says.
    func swallows(_ action: JobMachine.Action, tellingAgain: Bool) -> Bool {
        switch (self, action) {
        case (.assertsNothing, .sendAssert), (.forgetsCuts, .sendAssertEnded), (.neverReleases, .sendRelease), (.keepsUnused, .sendUnused), (.neverCancels, .sendCancel): true
        case (.forgetsTickets, .sendTicket): tellingAgain
        default: false
        }
    }
}
