import AssetCore
import Foundation
import Linux
import Logging
import Model
import NIOCore
import NIOPosix
import ServiceKit
import Synchronization
import Systemd

/// The store behind: what ``Tier`` decides, done. Questions and uploads are tasks of their own, which nobody who waits can end by leaving.
final class TierService: Sendable {
    let client: BackingClient
    let store: Store
    let pool: NIOThreadPool
    let mode: BackingConfiguration.Mode
    let counters = Counters()
    private let eventLoop: any EventLoop
    private let logger: Logger
    private let state: Mutex<State>
    /// Buckets that are known to be here. Beyond ``mostKnown``, all are looked up once more.
    private let known = Mutex<Set<String>>([])

    final class Counters: Sendable {
        let fetches = Count()
        let fetchedBytes = Count()
        let heads = Count()
        /// Copies that were asked about and still held.
        let held = Count()
        let lists = Count()
        let relayed = Count()
        let uploads = Count()
        let uploadedBytes = Count()
        let deletes = Count()
        let failures = Count()
        let refusals = Count()
        /// Writes that found the queue full.
        let turnedAway = Count()
        /// Reads of what is not here, while the store behind was away.
        let unanswered = Count()
    }

    private struct Reply: Sendable {
        var answer: Tier.Answer
        var record: ObjectRecord?
    }

    private struct State {
        var tier: Tier
        var actions: [Tier.Action] = []
        var callers: [Tier.Caller: CheckedContinuation<Reply, Never>] = [:]
        var lastCaller: UInt64 = 0
        var wakeAt: Instant?
    }

    private static let mostAtOnce = 8
    private static let mostKnown = 4_096

    init(
        _ configuration: BackingConfiguration, client: BackingClient, store: Store, pool: NIOThreadPool, eventLoop: any EventLoop, logger: Logger
    ) throws {
        (self.client, self.store, self.pool, self.eventLoop, self.logger) = (client, store, pool, eventLoop, logger)
        mode = configuration.mode
        let mode: Tier.Mode =
            switch configuration.mode {
            case .readThrough: .readThrough
            case .writeThrough: .writeThrough
            case .writeBack: .writeBack
            }
        state = Mutex(
            State(
                tier: Tier(
                    .init(
                        mode: mode, mostQueued: configuration.queue, mostAtOnce: Self.mostAtOnce, checkAfter: configuration.checkAfter))))
        store.pendings.listen { [unowned self] name, generation in step(.changed(name, generation: generation)) }
        for (name, generation) in try store.pending() { step(.changed(name, generation: generation)) }
    }

    /// For reports: names in the queue, of these refused, the age of the oldest, and since when the store behind is away.
    var figures: (queued: Int, refused: Int, oldest: Duration, away: Duration?) {
        let now = Instant(nanoseconds: monotonicNow())
        return state.withLock { state in
            (
                state.tier.queue.count, state.tier.queue.refused, state.tier.queue.oldest.map { now - $0 } ?? .zero,
                state.tier.health.downSince.map { now - $0 }
            )
        }
    }

    func blocking<T: Sendable>(_ work: @escaping @Sendable () throws -> T) async throws -> T { try await pool.runIfActive(work) }

    // MARK: The machine's door

    private struct Work {
        var replies: [(CheckedContinuation<Reply, Never>, Reply)] = []
        var orders: [Tier.Action] = []
        var wakeIn: Duration?
    }

    func step(_ input: Tier.Input, record: ObjectRecord? = nil) {
        perform(state.withLock { Self.step(input, record, &$0) })
    }

    private static func step(_ input: Tier.Input, _ record: ObjectRecord?, _ state: inout State) -> Work {
        let now = Instant(nanoseconds: monotonicNow())
        state.actions.removeAll(keepingCapacity: true)
        state.tier.handle(input, at: now, into: &state.actions)
        var work = Work()
        for action in state.actions {
            switch action {
            case .answer(let caller, let answer):
                guard let continuation = state.callers.removeValue(forKey: caller) else { continue }
                work.replies.append((continuation, Reply(answer: answer, record: record)))
            case .ask, .send, .away, .back: work.orders.append(action)
            }
        }
        if let wake = state.tier.nextWake, wake < state.wakeAt ?? .never {
            state.wakeAt = wake
            work.wakeIn = wake - now
        }
        return work
    }

    private func ask(_ input: @escaping (Tier.Caller) -> Tier.Input) async -> Reply {
        await withCheckedContinuation { continuation in
            let work = state.withLock { state in
                state.lastCaller += 1
                let caller = Tier.Caller(number: state.lastCaller)
                state.callers[caller] = continuation
                return Self.step(input(caller), nil, &state)
            }
            perform(work)
        }
    }

    private func perform(_ work: Work) {
        for (continuation, reply) in work.replies { continuation.resume(returning: reply) }
        for order in work.orders {
            switch order {
            case .ask(let name, let need, let hasCopy): Task { await fetch(name, need, hasCopy) }
            case .send(let name, _): Task { await send(name) }
            case .away:
                logger.warning(
                    "The store behind does not answer, continuing with what is here", metadata: [LogKey.messageID: "\(MessageID.backingAway)"])
            case .back: logger.notice("The store behind answers again", metadata: [LogKey.messageID: "\(MessageID.backingBack)"])
            case .answer: break  // done above, under the lock
            }
        }
        guard let wakeIn = work.wakeIn else { return }
        eventLoop.scheduleTask(in: .nanoseconds(max(0, wakeIn.nanoseconds))) { [weak self] in
            guard let self else { return }
            state.withLock { $0.wakeAt = nil }
            step(.woke)
        }
    }

    /// A question beside the machine's: not at all while the store behind is away, and told to the machine otherwise.
    func asking<T>(_ body: () async throws -> T) async throws -> T {
        guard state.withLock({ $0.tier.health.mayAsk(at: Instant(nanoseconds: monotonicNow())) }) else {
            counters.unanswered.add()
            throw S3Error(.serviceUnavailable, "The store behind cannot be reached.")
        }
        do {
            let result = try await body()
            step(.reached(true))
            return result
        } catch BackingClient.Failure.away {
            counters.failures.add()
            step(.reached(false))
            throw S3Error(.serviceUnavailable, "The store behind cannot be reached.")
        } catch BackingClient.Failure.preconditionFailed {
            throw S3Error(.preconditionFailed)
        } catch let failure as BackingClient.Failure {
            _ = judge(failure, "A request to the store behind was refused")
            throw S3Error(.serviceUnavailable, "The store behind refuses what this one asks; its journal says what.")
        }
    }

    /// Counts and tells. What the disk here says is no fault of the store behind.
    func judge(_ error: any Error, _ what: Logger.Message) -> Tier.Found {
        switch error {
        case BackingClient.Failure.away, OriginFailure.cut:
            counters.failures.add()
            return .away
        case let error as SystemError where [ENOSPC, EDQUOT, EFBIG].contains(error.errno): return .noRoom
        default:
            counters.refusals.add()
            logger.warning(what, metadata: [LogKey.messageID: "\(MessageID.backingRefuses)", "problem": "\(error)"])
            return .refused
        }
    }

    /// Asked within the transaction that keeps an answer.
    func mayKeep(_ name: BackedName, _ need: Tier.Need) -> Bool { state.withLock { $0.tier.mayKeep(name, need) } }

    // MARK: Reading

    enum Read: Sendable {
        /// The index has the answer.
        case look
        case head(ObjectRecord)
        /// There is no room for it here.
        case relay
    }

    /// Writers of one name that a reader waits for.
    private static let mostTries = 64

    /// Brings a name here, unless it is here already. Throws what a client is told when that cannot be done.
    func read(_ name: BackedName, _ need: Tier.Need) async throws -> Read {
        for _ in 0..<Self.mostTries {
            let since = state.withLock { $0.tier.landings }
            let here = try await blocking { [store] in try store.here(name).here }
            let reply = await ask { .reading($0, name, here, need, since: since) }
            switch reply.answer {
            case .look: return .look
            case .again: continue
            case .head:
                guard let record = reply.record else { continue }
                return .head(record)
            case .relay: return .relay
            case .away:
                counters.unanswered.add()
                throw S3Error(.serviceUnavailable)
            case .refused: throw S3Error(.serviceUnavailable, "The store behind refuses what this one asks; its journal says what.")
            case .turn, .queueFull: preconditionFailure("a reader got a writer's answer")
            }
        }
        throw S3Error(.slowDown)
    }

    // MARK: Writing

    /// Runs `body` in its turn. Throws `slowDown` when the queue is full.
    func turn<T>(_ name: BackedName, _ body: () async throws -> T) async throws -> T {
        let reply = await ask { .writing($0, name) }
        guard reply.answer == .turn else {
            counters.turnedAway.add()
            throw S3Error(.slowDown, "As many writes as there may be wait for the store behind. Please try again later.")
        }
        do {
            let result = try await body()
            step(.wrote(name, isDone: true))
            return result
        } catch {
            step(.wrote(name, isDone: false))
            throw error
        }
    }

    // MARK: Buckets

    /// Makes a bucket known here that the store behind has. Throws `noSuchBucket`.
    func know(_ bucket: String) async throws {
        if known.withLock({ $0.contains(bucket) }) { return }
        let name = BackedName(bucket: bucket)
        let isHere = try await blocking { [store] in try store.isBucketHere(bucket) }
        if !isHere {
            counters.lists.add()
            let page = try await asking { try await client.list(prefix: client.place.key(of: name), most: 1) }
            guard !page.rows.isEmpty else { throw S3Error(.noSuchBucket) }
            try await blocking { [store] in try store.learnBucket(bucket, at: wallClock()) }
        }
        known.withLock { known in
            if known.count >= Self.mostKnown { known.removeAll() }
            known.insert(bucket)
        }
    }

    func forgetBucket(_ bucket: String) { known.withLock { _ = $0.remove(bucket) } }
}
