import Testing

/// The simulation can fail: each way to break the product is noticed within a few hundred seeds.
@Suite struct MutationTests {
    @Test(arguments: Mutation.allCases) func everyMutantIsCaught(mutation: Mutation) {
        for seed in 1...Self.most {
            let world = World(seed: seed, mutation: mutation)
            world.run()
            if let failure = world.failure {
                print("simulation: \(mutation) is caught by seed \(seed) after \(world.steps) steps: \(failure)")
                return
            }
        }
        Issue.record("\(mutation) went unnoticed for \(Self.most) seeds")
    }

    static let most: UInt64 = 500
}
