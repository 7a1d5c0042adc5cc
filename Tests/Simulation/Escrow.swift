import KeeperCore
import Model
import Wire

/// What the pool-keeper has in escrow of one dispatcher process. Descriptors do not travel here: a name stands for the thing.
struct EscrowBox {
    var callers: [ConnectionID: Caller] = [:]
    var workers: [LeaseID: (names: EscrowedWorker, connection: Connection)] = [:]
    /// Named since the last hello.
    var told: Set<ConnectionID> = []
    /// Its process is dead, and those who wait are watched.
    var isWatched = false
}

/// What a dead process had that somebody else still holds.
struct Limbo {
    var callers: [Caller] = []
    var connections: [Connection] = []
    /// When the first of the processes died that have left it.
    var since = Instant.never

    /// The last duplicate of what nobody has adopted is closed.
    func end(_ world: World) {
        for caller in callers where caller.isInLimbo { caller.end(world) }
        for connection in connections where connection.isInLimbo { connection.orphan(world) }
    }
}

extension Caller {
    var escrowName: ConnectionID { ConnectionID(slot: UInt32(number), generation: 1) }

    /// Its connection ends with nobody who could answer.
    func end(_ world: World) {
        isInLimbo = false
        connection = nil
        if answer == nil { finish(.dispatcherDied, world) }
    }
}

extension Connection {
    var escrowName: ConnectionID { ConnectionID(slot: UInt32(number), generation: 2) }

    /// It ends with nobody who could say how.
    func orphan(_ world: World) {
        isInLimbo = false
        inbox = []
        guard state != .closed else { return }
        isOrphaned = true
        close(world)
    }
}

extension KeeperProcess {
    func take(_ message: Escrow, from instance: InstanceID) {
        switch message {
        case .records, .pipes: break
        case .caller(let name, _):
            escrow[instance, default: EscrowBox()].told.insert(name)
            escrow[instance]?.callers[name] = world.callers[Int(name.slot)]
        case .callerGone(let name): escrow[instance]?.callers[name] = nil
        case .worker(let names):
            guard let connection = world.wires[Int(names.worker.slot)] else { return world.fail("\(names) is no connection") }
            escrow[instance, default: EscrowBox()].workers[names.lease] = (names, connection)
        }
    }

    /// Everything has been told: what was not is not in escrow any more.
    func sweep(_ instance: InstanceID) {
        guard var box = escrow[instance] else { return }
        let told = box.told
        box.callers = box.callers.filter { told.contains($0.key) }
        escrow[instance] = box
    }

    /// Everything that the dead one had said is known: what it had beside that is nobody's.
    func settleEstate(of instance: InstanceID) {
        let box = escrow[instance] ?? EscrowBox()
        guard let left = world.limbo[instance.rawValue] else { return }
        let lost = Limbo(
            callers: left.callers.filter { box.callers[$0.escrowName] == nil },
            connections: left.connections.filter { one in !box.workers.values.contains { $0.connection === one } })
        world.limbo[instance.rawValue]?.callers.removeAll { caller in lost.callers.contains { $0 === caller } }
        world.limbo[instance.rawValue]?.connections.removeAll { one in lost.connections.contains { $0 === one } }
        lost.end(world)
    }

    func handOver(from dead: InstanceID, to heir: InstanceID, _ link: DispatcherID) {
        guard let end = peer(link)?.end else { return }
        var box = escrow.removeValue(forKey: dead) ?? EscrowBox()
        box.isWatched = false
        box.told = Set(box.callers.keys)
        escrow[heir] = box
        if dead != heir, let left = world.limbo.removeValue(forKey: dead.rawValue) { world.limbo[heir.rawValue] = left }
        if world.mutation == .handsNothingOver { return end.send(LeasingReply.adopt(.end)) }
        for (_, worker) in box.workers.sorted(by: { $0.key < $1.key }) where world.mutation != .handsOverOnlyCallers {
            guard let lease = keeper?.held(worker.names.lease, at: now) else { continue }
            end.send(LeasingReply.adopt(.worker(worker.names, lease)))
        }
        for name in box.callers.keys.sorted(by: { $0.slot < $1.slot }) { end.send(LeasingReply.adopt(.caller(name))) }
        end.send(LeasingReply.adopt(.end))
    }

    func fence(_ lease: LeaseID, of instance: InstanceID) {
        guard let worker = escrow[instance]?.workers.removeValue(forKey: lease), world.mutation != .neverFences else { return }
        if worker.connection.isInLimbo { worker.connection.orphan(world) }
    }

    func dropEscrow(_ instance: InstanceID) {
        escrow[instance] = nil
        guard var left = world.limbo.removeValue(forKey: instance.rawValue) else { return }
        if world.mutation == .neverFences { left.connections = [] }
        if left.callers.contains(where: \.isInLimbo), now < left.since + world.scenario.adoptWithin {
            world.fail("callers of a dead dispatcher were dropped before their time")
        }
        left.end(world)
    }

    func watchCallers(of instance: InstanceID) {
        escrow[instance]?.isWatched = true
        for caller in world.limbo[instance.rawValue]?.callers ?? [] where caller.hasHungUp { hungUp(caller) }
    }

    /// The socket of a caller in limbo says RDHUP, to whoever looks at it.
    func hungUp(_ caller: Caller) {
        after(.microseconds(world.pick(20...5_000))) { [self] in
            guard caller.isInLimbo, caller.answer == nil else { return }
            for (instance, box) in escrow where box.isWatched && box.callers[caller.escrowName] === caller {
                guard let ticket = keeper?.waiting(of: instance).first(where: { $0.caller == caller.escrowName })?.ticket else { return }
                world.trace.note(name) { "· \(caller.name) has hung up" }
                escrow[instance]?.callers[caller.escrowName] = nil
                world.limbo[instance.rawValue]?.callers.removeAll { $0 === caller }
                caller.isInLimbo = false
                input(.callerLeft(instance, ticket))
                caller.finish(.gone, world)
                return
            }
        }
    }
}
