import Foundation
import Linux
import Model
import Synchronization

/// Callers that ask for one job after the other, each on a thread and a connection of its own, until told to stop.
final class DemoCrowd: Sendable {
    /// What the callers have seen so far.
    struct Tally: Sendable {
        var served = 0
        /// One line each, in the callers' words.
        var failures: [String] = []
        var holds: [Double] = []
        /// Callers that were served at least once.
        var happy: Set<Int> = []
    }

    private let tally = Mutex(Tally())
    private let stopping = Atomic(false)
    private let running = Atomic(0)

    var current: Tally { tally.withLock { $0 } }
    var served: Int { tally.withLock { $0.served } }
    var failures: Int { tally.withLock { $0.failures.count } }
    var isDone: Bool { running.load(ordering: .acquiring) == 0 }

    func start(_ callers: Int, to address: SocketAddress, path: String) {
        running.store(callers, ordering: .releasing)
        for number in 0..<callers {
            let thread = Thread { [self] in
                call(number, address, path)
                running.subtract(1, ordering: .releasing)
            }
            thread.stackSize = 256 * 1024
            thread.start()
        }
    }

    /// Each caller finishes the request that it has.
    func stop() { stopping.store(true, ordering: .releasing) }

    private func call(_ number: Int, _ address: SocketAddress, _ path: String) {
        let client = DemoClient(address)
        while !stopping.load(ordering: .acquiring) {
            do throws(DemoClient.Failure) {
                let answer = try client.get(path)
                tally.withLock { tally in
                    if answer.isServed {
                        tally.served += 1
                        tally.happy.insert(number)
                        if let hold = answer.holdMs { tally.holds.append(hold) }
                    } else {
                        tally.failures.append(
                            "status \(answer.status) \(answer.headers["leasehold-reason"] ?? (answer.isWhole ? "" : "cut"))")
                    }
                }
            } catch {
                tally.withLock { $0.failures.append(error.description) }
            }
        }
    }
}

/// One request on a thread of its own, whose answer is waited for elsewhere.
final class DemoCall: Sendable {
    enum Outcome: Sendable {
        case waiting
        /// The head is there, the body is not.
        case begun(DemoClient.Answer)
        case answered(DemoClient.Answer)
        case failed(String)

        /// For people.
        var description: String {
            switch self {
            case .waiting: "no answer"
            case .begun: "an answer that does not end"
            case .answered(let answer):
                answer.isWhole ? "\(answer.status) \(answer.headers["leasehold-reason"] ?? "")" : "cut after \(answer.body.count) bytes"
            case .failed(let why): why
            }
        }
    }

    private let state = Mutex(Outcome.waiting)

    var outcome: Outcome { state.withLock { $0 } }

    init(_ path: String, to address: SocketAddress) {
        let thread = Thread { [self] in
            do throws(DemoClient.Failure) {
                let answer = try DemoClient(address).get(path) { head in state.withLock { $0 = .begun(head) } }
                state.withLock { $0 = .answered(answer) }
            } catch {
                state.withLock { $0 = .failed(error.description) }
            }
        }
        thread.stackSize = 256 * 1024
        thread.start()
    }
}
