import Foundation
import Testing

/// The whole product on virtual time, thousands of times. `LEASEHOLD_SEEDS` says how many seeds, `LEASEHOLD_SEED` replays one with
/// every event on standard error.
@Suite struct SimulationTests {
    static var environment: [String: String] { ProcessInfo.processInfo.environment }
    /// As many as a minute on two busy cores allows, in a debug build.
    static var seeds: UInt64 { environment["LEASEHOLD_SEEDS"].flatMap(UInt64.init) ?? 2000 }
    static var replayed: UInt64? { environment["LEASEHOLD_SEED"].flatMap(UInt64.init) }
    static let strands: UInt64 = 2

    /// Each strand takes every second seed, so that two cores have work.
    @Test(arguments: 0..<strands) func everyPromiseHoldsWhateverDies(strand: UInt64) {
        if let seed = Self.replayed {
            guard strand == 0 else { return }
            let world = World(seed: seed, trace: .loud)
            world.run()
            if let failure = world.failure { Issue.record("seed \(seed): \(failure)") }
            return
        }
        var (steps, sessions, parked, mismatches) = (0, 0, 0, 0)
        for seed in stride(from: strand + 1, through: Self.seeds, by: Int(Self.strands)) {
            LastWords.begin(strand, seed)
            let world = World(seed: seed)
            world.run()
            steps += world.steps
            sessions += world.adoptions.sessions
            parked += world.adoptions.parked
            mismatches += world.mismatches
            if let failure = world.failure {
                Issue.record("seed \(seed): \(failure)\nreplay: LEASEHOLD_SEED=\(seed) swift test --filter Simulation")
            }
        }
        LastWords.end(strand)
        print("simulation: strand \(strand), \(Self.seeds / Self.strands) seeds, \(steps) steps, \(sessions) sessions and \(parked) waiting callers adopted, \(mismatches) peers of another build refused")
    }
}
