import NIOCore
import Synchronization

/// The connections of one door: bounded, so that whoever opens many, or opens one and says nothing, takes no place from others for long.
final class OpenConnections: Sendable {
    private let most: Int
    private let state = Mutex(State())

    private struct State {
        var open: [ObjectIdentifier: Connection] = [:]
        /// Counts what begins and ends.
        var step: UInt64 = 0
        var isDraining = false
        var onDrained: (@Sendable () -> Void)?

        /// What is to be called, once, when nobody is left.
        mutating func drained() -> (@Sendable () -> Void)? {
            guard isDraining, open.isEmpty else { return nil }
            defer { onDrained = nil }
            return onDrained
        }
    }

    private struct Connection {
        var channel: any Channel
        /// The step at which it was opened, or its last answer was written; nil while an answer is on its way.
        var idleSince: UInt64?
    }

    init(most: Int) { self.most = most }

    var count: Int { state.withLock { $0.open.count } }
    var isDraining: Bool { state.withLock { $0.isDraining } }

    /// False when there is no place for it. When all are taken, the connection that has been idle longest is closed for it: a full house is
    /// made by those who do not ask. O(connections) then.
    func enter(_ channel: any Channel) -> Bool {
        let (isIn, idler) = state.withLock { state -> (Bool, (any Channel)?) in
            guard !state.isDraining else { return (false, nil) }
            var idler: (any Channel)?
            if state.open.count >= most {
                let idle = state.open.compactMap { id, one in one.idleSince.map { (id, $0) } }
                guard let (id, _) = idle.min(by: { $0.1 < $1.1 }) else { return (false, nil) }
                idler = state.open.removeValue(forKey: id)?.channel
            }
            state.step += 1
            state.open[ObjectIdentifier(channel)] = Connection(channel: channel, idleSince: state.step)
            return (true, idler)
        }
        idler?.close(promise: nil)
        return isIn
    }

    func leave(_ channel: any Channel) {
        let onDrained = state.withLock { state in
            state.open[ObjectIdentifier(channel)] = nil
            return state.drained()
        }
        onDrained?()
    }

    /// An answer is being worked out and written.
    func begin(_ channel: any Channel) { state.withLock { $0.open[ObjectIdentifier(channel)]?.idleSince = nil } }

    func end(_ channel: any Channel) {
        state.withLock { state in
            state.step += 1
            state.open[ObjectIdentifier(channel)]?.idleSince = state.step
        }
    }

    /// Lets nobody in any more, lets every connection finish its answer, and calls back once when none is left.
    func drain(_ then: @escaping @Sendable () -> Void) {
        let open = state.withLock { state in
            state.isDraining = true
            if !state.open.isEmpty { state.onDrained = then }
            return state.open.values.map(\.channel)
        }
        for channel in open { channel.pipeline.fireUserInboundEventTriggered(ChannelShouldQuiesceEvent()) }
        if open.isEmpty { then() }
    }
}
