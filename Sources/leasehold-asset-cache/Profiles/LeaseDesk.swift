import AssetCore
import Foundation
import Linux
import Model
import NIOCore
import ServiceKit
import Synchronization
import Wire

/// The leases edge, and those who wait for it to say something.
final class LeaseDesk: @unchecked Sendable {
    // `client` is the main loop's; the book is under the lock.
    private let client: LinkClient
    private let state = Mutex(State())

    private struct State {
        var book = LeaseBook()
        var waiting: [CheckedContinuation<Void, Never>] = []
    }

    init(_ service: Service) {
        client = service.connect(.leases)
        client.onPacket = { [unowned self] (_, packet, _) throws(WireError) in
            var reader = ByteReader(packet)
            while !reader.isAtEnd { take(try LeasesMessage.decode(from: &reader)) }
            wake()
        }
        client.onDown = { [unowned self] _ in
            state.withLock { $0.book.linkLost() }
            wake()
        }
        client.start()
    }

    private func take(_ message: LeasesMessage) {
        state.withLock { state in
            switch message {
            case .snapshotBegin: state.book.snapshotBegan()
            case .live(let live): state.book.began(live.lease, .init(pool: live.pool, tenant: live.tenant))
            case .ended(let lease): state.book.ended(lease)
            case .snapshotEnd: state.book.snapshotEnded()
            }
        }
    }

    private func wake() {
        let waiting = state.withLock { state in
            defer { state.waiting = [] }
            return state.waiting
        }
        for continuation in waiting { continuation.resume() }
    }

    var book: LeaseBook { state.withLock { $0.book } }

    /// How long a lease that is not known is waited for: its worker may be faster than the pool-keeper's word.
    private static let patience: Int64 = 1_000_000_000

    /// Judges now, or once the pool-keeper has spoken of the lease.
    func judge(_ name: LeaseName, tenant: String, last: LeaseName?, on eventLoop: any EventLoop) async -> ProfileRule.Answer {
        let deadline = monotonicNow() + Self.patience
        while true {
            let answer = ProfileRule.judge(name, tenant: tenant, last: last, book: book)
            let left = deadline - monotonicNow()
            switch answer {
            case .accepted, .older: return answer
            case .notLive, .unknown: if left <= 0 { return answer }
            }
            let timer = eventLoop.scheduleTask(in: .nanoseconds(left)) { [self] in wake() }
            await withCheckedContinuation { continuation in state.withLock { $0.waiting.append(continuation) } }
            timer.cancel()
        }
    }
}
