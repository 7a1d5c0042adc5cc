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
    /// Links that want pools endpoint by endpoint, and the pools that have changed since they were told so.
    private var lookers: [Link] = []
    private var unseen: Set<PoolID> = []
    private var cellTimer: LoopTimer?
    /// How many endpoints are told one by one in one turn at most, and nanoseconds until the next: a part of a millisecond of this loop.
    private static let cellsPerTurn = Bounds.cells
    private static let cellRhythm: Int64 = 250_000_000
    private static let cellPause: Int64 = 20_000_000
    var cells: (PoolID, Int) -> (total: Int, states: [UInt8])? = { _, _ in nil }
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
        cellTimer = loop.timer { [unowned self] now in tellCells(now) }
        server.onPacket = { [unowned self] (link, packet, _) throws(WireError) in
            var reader = ByteReader(packet)
            while !reader.isAtEnd {
                switch try StateRequest.decode(from: &reader) {
                case .cells(let wanted):
                    lookers.removeAll { $0 === link }
                    if wanted {
                        lookers.append(link)
                        unseen.formUnion(pools())
                        cellTimer?.deadline = loop.now
                    }
                }
            }
        }
        server.onEnd = { [unowned self] link, _ in lookers.removeAll { $0 === link } }
        loop.atTurnEnd { [unowned self] in
            guard !dirty.isEmpty, timer?.deadline == .max else { return }
            if loop.now - lastSent >= Self.rhythm { send(loop.now) } else { timer?.deadline = lastSent + Self.rhythm }
        }
    }

    @inline(__always)
    func changed(_ pool: PoolID) {
        guard !server.links.isEmpty else { return }
        dirty.insert(pool)
        guard !lookers.isEmpty else { return }
        unseen.insert(pool)
        if cellTimer?.deadline == .max { cellTimer?.deadline = loop.now + Self.cellRhythm }
    }

    private func send(_ now: Int64) {
        lastSent = now
        for pool in dirty { tell(pool) { server.broadcast($0) } }
        dirty.removeAll(keepingCapacity: true)
    }

    /// As many pools as fit into one turn. A looker that does not read is told when it does.
    private func tellCells(_ now: Int64) {
        guard !lookers.isEmpty else { return unseen.removeAll() }
        let ready = lookers.filter { !$0.isBacklogged }
        var left = Self.cellsPerTurn
        while let pool = unseen.first, left > 0, ready.count == lookers.count {
            unseen.remove(pool)
            guard let (total, states) = cells(pool, Bounds.cells) else { continue }
            left -= states.count + 100
            for link in ready { link.send(StateMessage.cells(pool: pool, total: UInt32(clamping: total), states: states)) }
        }
        if !unseen.isEmpty { cellTimer?.deadline = now + Self.cellPause }
    }

    private func tell(_ pool: PoolID, _ send: (StateMessage) -> Void) {
        if let state = read(pool) { send(.pool(state)) } else { send(.poolGone(pool)) }
    }
}
