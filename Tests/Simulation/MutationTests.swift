import Testing

/// The simulation can fail: each way to break the product is noticed within some hundreds of seeds.
@Suite struct MutationTests {
    @Test(arguments: Mutation.allCases) func everyMutantIsCaught(mutation: Mutation) {
        let first = Self.first[mutation] ?? 1
        for seed in first..<first + Self.most {
            let world = World(seed: seed, mutation: mutation)
            world.run()
            if let failure = world.failure, Self.passes(seed) {
                print("simulation: \(mutation) is caught by seed \(seed) after \(world.steps) steps: \(failure)")
                return
            }
        }
        Issue.record("\(mutation) went unnoticed for \(Self.most) seeds")
    }

    /// Those that give one worker to two jobs are noticed by the workers alone.
    @Test(arguments: [
        Mutation.forgetsRoster, .freesOnBlink, .releasesOnEnding, .buriesTheSilent, .timesLeasesOut, .assertsNothing, .trustsResets,
        .neverFences, .beginsAdoptedJobsAgain,
    ])
    func theWorkersThemselvesNotice(mutation: Mutation) {
        for seed in 1...Self.most {
            let world = World(seed: seed, mutation: mutation, looksInside: false)
            world.run()
            guard let failure = world.failure, failure.contains("second concurrent job") else { continue }
            print("simulation: \(mutation) is noticed by a worker in seed \(seed)")
            return
        }
        Issue.record("no worker noticed \(mutation) in \(Self.most) seeds")
    }

    /// A seed that fails without the mutant too catches nothing.
    private static func passes(_ seed: UInt64) -> Bool {
        let world = World(seed: seed)
        world.run()
        return world.failure == nil
    }

    static let most: UInt64 = 3000

    /// Where to look first for those that few seeds find. Whoever changes what a seed means only makes the search longer.
    static let first: [Mutation: UInt64] = [.buriesTheUnread: 2800, .forgetsCuts: 200, .forgetsTheDead: 200]
}
