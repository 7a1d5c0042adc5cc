import Linux
import Model
import ServiceKit
import Wire

/// The state edge: every pool on connect, then each pool that changed, at most once in ``rhythm`` but the first change at once.
final class StateEdge {
    private static let rhythm: Int64 = 20_000_000
    private let server: LinkServer
    private let loop: Loop
    private var dirty: Set<PoolID> = []
    private var lastSent: Int64 = 0
    private var timer: LoopTimer?
    var read: (PoolID) -> PoolState? = { _ in nil }
    var pools: () -> [PoolID] = { [] }

    init(_ server: LinkServer, loop: Loop) {
        self.server = server
        self.loop = loop
        timer = loop.timer { [unowned self] now in send(now) }
        server.onUp = { [unowned self] link in
            for pool in pools() { tell(pool) { link.send($0) } }
            link.send(StateMessage.snapshotEnd)
        }
        loop.atTurnEnd { [unowned self] in
            guard !dirty.isEmpty, timer?.deadline == .max else { return }
            if loop.now - lastSent >= Self.rhythm { send(loop.now) } else { timer?.deadline = lastSent + Self.rhythm }
        }
    }

    @inline(__always)
    func changed(_ pool: PoolID) {
        guard !server.links.isEmpty else { return }
        dirty.insert(pool)
    }

    private func send(_ now: Int64) {
        lastSent = now
        for pool in dirty { tell(pool) { server.broadcast($0) } }
        dirty.removeAll(keepingCapacity: true)
    }

    private func tell(_ pool: PoolID, _ send: (StateMessage) -> Void) {
        if let state = read(pool) { send(.pool(state)) } else { send(.poolGone(pool)) }
    }
}
