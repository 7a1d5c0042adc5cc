import Model
import ScalerCore
import Testing
import Wire

@Suite struct RandomWalkTests {
    /// The model traps on more processes than allowed, two on one port, and a stop without a drain or under a lease.
    @Test(arguments: [UInt64](1...200))
    func keepsItsPromisesAndConverges(seed: UInt64) {
        var world = FleetModel(seed: seed)
        for _ in 0..<300 { world.step() }

        // The world calms down: every queued job is served, and the fleet shrinks to its minimum.
        world.crashes = false
        world.orphans = []
        world.run(for: .seconds(200))
        #expect(world.keeper.queued == 0, "seed \(seed): jobs wait for ever")
        #expect(world.keeper.leases.isEmpty)
        #expect(world.processes.count == world.config.min, "seed \(seed): \(world.scaler.summaries)")
        #expect(world.scaler.summaries.map(\.ready) == [world.config.min], "seed \(seed)")

        // And it grows again to what is asked, no further.
        let asked = world.config.max
        world.keeper.queued = asked
        world.grant()
        world.sendState()
        let before = world.starts
        world.run(for: .seconds(1))
        #expect(world.keeper.queued == 0 && world.starts - before <= asked, "seed \(seed)")
        #expect(world.served > 20)
    }

    @Test func steadyDemandNeverFlaps() {
        // Demand goes between 2 and 4 faster than `idle`: nobody is stopped, nobody starts after the first four.
        var world = FleetModel(seed: 1)
        world.crashes = false
        world.config = pool(max: 6, idle: .seconds(5))
        world.scaler = Scaler()
        world.life += 1
        world.keeper = FleetModel.Keeper()
        world.processes = [:]
        var calm = Scaler()
        var actions: [Scaler.Action] = []
        calm.handle(.began([world.config], found: []), at: world.now, into: &actions)
        calm.handle(.scalingUp, at: world.now, into: &actions)
        world.scaler = calm
        for round in 0..<100 {
            world.keeper.queued += round % 2 == 0 ? 4 : 2
            world.grant()
            world.sendState()
            world.run(for: .milliseconds(1600))
        }
        #expect(world.stops == 0)
        #expect(world.starts <= 6)
    }
}
