import Model
import ScalerCore
import Wire

/// The machine, and the time it is told.
struct Dialogue {
    var scaler = Scaler(node: "here")
    var now = Instant(nanoseconds: 1_000_000_000_000)
    private var nextPid: Int32 = 1000

    /// Says one thing and returns what is to be done, roster writes left out.
    mutating func say(_ input: Scaler.Input) -> [Scaler.Action] { sayAll(input).filter { $0 != .saveRoster } }

    mutating func sayAll(_ input: Scaler.Input) -> [Scaler.Action] {
        var actions: [Scaler.Action] = []
        scaler.handle(input, at: now, into: &actions)
        scaler.checkInvariants()
        return actions
    }

    /// Lets time pass to each moment the machine asks for, up to `duration` from now.
    mutating func wait(_ duration: Duration) -> [Scaler.Action] {
        let end = now + duration
        var all: [Scaler.Action] = []
        while scaler.nextWake <= end {
            now = max(now, scaler.nextWake)
            let actions = say(.woke)
            precondition(!actions.isEmpty || scaler.nextWake > now, "woken for nothing at \(now)")
            all += actions
        }
        now = end
        return all
    }

    /// Plays a willing shell for one start: the port is free, the process runs, the port accepts.
    mutating func run(_ place: WorkerPlace) -> (ProcessIdentity, Endpoint, [Scaler.Action]) {
        var actions = say(.portFree(place))
        precondition(actions.contains(.start(place)))
        let process = newProcess()
        actions += say(.started(place, process))
        actions += say(.accepts(place, process))
        let endpoint = scaler.endpoints.first { $0.endpoint.uid == "local:\(place.port):\(process)" }!.endpoint
        return (process, endpoint, actions)
    }

    mutating func newProcess() -> ProcessIdentity {
        nextPid += 1
        return ProcessIdentity(pid: nextPid, startTime: UInt64(now.nanoseconds / 10_000_000))
    }
}

let browsers = PoolID(name: "browsers")

func place(_ port: UInt16, pool: PoolID = browsers) -> WorkerPlace { WorkerPlace(pool: pool, port: port) }

func pool(min: Int = 0, max: Int = 4, idle: Duration = .seconds(30), slots: Int = 1, singleUse: Bool = false) -> WorkerPool {
    WorkerPool(
        name: "browsers", command: ["worker", "--port", "{port}"], ports: Array(21000...21007), min: min, max: max, idle: idle,
        slots: slots,
        isSingleUse: singleUse)
}

/// What the pool-keeper says; `free` is what it knows to be free, ours included.
func state(
    queued: UInt32 = 0, leased: UInt32 = 0, free: UInt32 = 0, ending: UInt32 = 0, quarantined: UInt32 = 0, recovering: UInt32 = 0,
    draining: UInt32 = 0, remote: UInt32 = 0, leases: UInt32? = nil
) -> PoolState {
    var state = PoolState(pool: browsers)
    state.queued = queued
    state.leased = leased
    state.free = free
    state.ending = ending
    state.quarantined = quarantined
    state.recovering = recovering
    state.draining = draining
    state.remote = remote
    state.leases = leases ?? leased + ending
    return state
}

extension [Scaler.Action] {
    var notices: [Notice] { compactMap { if case .notice(let notice) = $0 { notice } else { nil } } }
    var orders: [Scaler.Action] { filter { if case .notice = $0 { false } else { true } } }
}
