import CLinux
import DispatcherCore
import Linux
import Model

/// The records of one loop's connections, in memory that outlives the process: see ``RecordLayout``.
///
/// Plain stores; the last one of a step commits it. Every step is written before it is done.
final class Records {
    private let shared: SharedWords
    /// For slots beyond the layout, whose connections are not put in escrow: written and never read.
    private let spare = UnsafeMutablePointer<UInt64>.allocate(capacity: RecordLayout.workerWords)

    /// Where a predecessor's listeners are in our configuration, when they are not where they were.
    private(set) var listenerMap: [UInt16]?

    /// `listeners`: see ``RecordLayout/listenersAt``.
    init(listeners: [UInt64]) throws(SystemError) {
        shared = try SharedWords(name: "leasehold-records", count: RecordLayout.words)
        spare.initialize(repeating: 0, count: RecordLayout.workerWords)
        let header: [UInt64] = [
            RecordLayout.magic, RecordLayout.version, UInt64(RecordLayout.callers), UInt64(RecordLayout.workers),
        ]
        for (i, word) in header.enumerated() { shared.words[i] = word }
        setListeners(listeners)
    }

    private func setListeners(_ listeners: [UInt64]) {
        for i in 0..<RecordLayout.listeners { shared.words[RecordLayout.listenersAt + i] = i < listeners.count ? listeners[i] : 0 }
    }

    /// Reads a predecessor's listeners by name from here on, where the configuration has changed.
    func mapListeners(to listeners: [UInt64]) {
        let old = (0..<RecordLayout.listeners).map { shared.words[RecordLayout.listenersAt + $0] }.prefix { $0 != 0 }
        guard !old.elementsEqual(listeners) else { return }
        listenerMap = old.map { name in listeners.firstIndex(of: name).map { UInt16($0) } ?? .max }
    }

    /// Every record that counts was written again.
    func listenersMapped(to listeners: [UInt64]) {
        guard listenerMap != nil else { return }
        listenerMap = nil
        setListeners(listeners)
    }

    private func mapped(_ listener: UInt16) -> UInt16 {
        guard let listenerMap else { return listener }
        return Int(listener) < listenerMap.count ? listenerMap[Int(listener)] : .max
    }

    /// A predecessor's. EINVAL when they are of another version.
    init(owning descriptor: consuming Descriptor) throws(SystemError) {
        shared = try SharedWords(owning: descriptor, count: RecordLayout.words)
        spare.initialize(repeating: 0, count: RecordLayout.workerWords)
        guard shared.words[0] == RecordLayout.magic, shared.words[1] == RecordLayout.version,
            shared.words[2] == UInt64(RecordLayout.callers), shared.words[3] == UInt64(RecordLayout.workers)
        else { throw SystemError(EINVAL, "map", "records of another version") }
    }

    deinit { spare.deallocate() }

    var descriptor: Int32 { shared.descriptor }

    /// `offset` is one of ``RecordLayout``.
    func words(at offset: Int) -> UnsafeMutablePointer<UInt64> { shared.words + offset }

    func isSame(as other: Records) -> Bool { shared.isSame(as: other.shared) }

    @inline(__always)
    func caller(_ slot: Int32) -> UnsafeMutablePointer<UInt64> {
        guard Int(slot) < RecordLayout.callers else { return spare }
        return shared.words + RecordLayout.callersAt + Int(slot) * RecordLayout.callerWords
    }

    @inline(__always)
    func worker(_ slot: Int32) -> UnsafeMutablePointer<UInt64> {
        guard Int(slot) < RecordLayout.workers else { return spare }
        return shared.words + RecordLayout.workersAt + Int(slot) * RecordLayout.workerWords
    }

    /// Whether connections of this slot have records of their own.
    func holds(caller slot: Int32) -> Bool { Int(slot) < RecordLayout.callers }
    func holds(worker slot: Int32) -> Bool { Int(slot) < RecordLayout.workers }

    /// A connection is in this slot from now on.
    func use(caller slot: Int32) {
        let at = shared.words + RecordLayout.callersUsedAt
        if holds(caller: slot), UInt64(slot) >= at[0] { at[0] = UInt64(slot) + 1 }
    }

    /// How many of the first slots may have been used.
    var callersUsed: Int32 { Int32(min(shared.words[RecordLayout.callersUsedAt], UInt64(RecordLayout.callers))) }

    // MARK: Reading what a predecessor wrote

    func readCaller(_ slot: Int32) -> CallerRecord? {
        guard var record = CallerRecord(Self.words(caller(slot))) else { return nil }
        record.listener = mapped(record.listener)
        return record
    }

    func readWorker(_ slot: Int32) -> WorkerRecord? {
        let at = worker(slot)
        var words = SIMD16<UInt64>()
        for i in 0..<16 { words[i] = at[i] }
        guard var record = WorkerRecord(words) else { return nil }
        record.listener = mapped(record.listener)
        return record
    }

    /// The later of a relay's two copies, and its sequence.
    static func readRelay(_ base: UnsafeMutablePointer<UInt64>) -> (record: RelayRecord?, sequence: UInt16) {
        let first = words(base + RecordLayout.copiesOffset)
        let second = words(base + RecordLayout.copiesOffset + RecordLayout.copyWords)
        let (a, b) = (RelayRecord.sequence(of: first[0]), RelayRecord.sequence(of: second[0]))
        let isSecond = Int16(bitPattern: b &- a) > 0
        return (RelayRecord(isSecond ? second : first), isSecond ? b : a)
    }

    private static func words(_ at: UnsafeMutablePointer<UInt64>) -> SIMD8<UInt64> {
        var words = SIMD8<UInt64>()
        for i in 0..<8 { words[i] = at[i] }
        return words
    }

    // MARK: Callers behind a balancer

    private func peerAt(_ slot: Int32) -> UnsafeMutablePointer<UInt64> {
        guard holds(caller: slot) else { return spare }
        return shared.words + RecordLayout.peersAt + Int(slot) * RecordLayout.peerWords
    }

    /// Nil where no PROXY header was taken.
    func setPeer(_ peer: Peer?, caller slot: Int32) {
        let at = peerAt(slot)
        guard let peer else {
            // Pages of this table are touched only where a balancer stands in front.
            if at[3] != 0 { at[3] = 0 }
            return
        }
        at[0] = peer.address?.high ?? 0
        at[1] = peer.address?.low ?? 0
        at[2] = UInt64(peer.address?.port ?? 0) | UInt64(peer.address?.family.rawValue ?? 0) << 16
        lh_store_last(at + 3, UInt64(peer.believed.rawValue) | 256)
    }

    func peer(caller slot: Int32) -> Peer? {
        let at = peerAt(slot)
        guard at[3] & 256 != 0 else { return nil }
        var address: SocketAddress?
        if let family = SocketAddress.Family(rawValue: UInt8(truncatingIfNeeded: at[2] >> 16)) {
            address = SocketAddress(family: family, high: at[0], low: at[1], port: UInt16(truncatingIfNeeded: at[2]))
        }
        return Peer(address: address, believed: Believed(rawValue: UInt8(truncatingIfNeeded: at[3])))
    }
}

extension CallerRecord {
    /// Writes all of it; the state last.
    func write(to at: UnsafeMutablePointer<UInt64>) {
        let words = self.words
        for i in 1..<8 { at[i] = words[i] }
        lh_store_last(at, words[0])
    }
}

extension WorkerRecord {
    func write(to at: UnsafeMutablePointer<UInt64>) {
        let words = self.words
        for i in 1..<12 { at[i] = words[i] }
        lh_store_last(at, words[0])
    }
}
