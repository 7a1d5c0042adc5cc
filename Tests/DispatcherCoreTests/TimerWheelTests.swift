import DispatcherCore
import Model
import Testing

@Suite struct TimerWheelTests {
    @Test func neverEarlyAndAtMostTwoTicksLate() {
        var random = SystemRandomNumberGenerator()
        let seed = UInt64.random(in: 0 ... .max, using: &random)
        print("seed \(seed)")
        var state = seed
        func next(_ bound: Int64) -> Int64 {
            state = state &* 6_364_136_223_846_793_005 &+ 1_442_695_040_888_963_407
            return Int64(state >> 33) % bound
        }
        let tick: Int64 = 8_000_000
        var now: Int64 = 1_000_000_000
        var wheel = TimerWheel(tick: tick, bucketCount: 64, now: Instant(nanoseconds: now))
        var expected = [Int64](repeating: .max, count: 100)
        for _ in 0..<20_000 {
            let key = Int(next(100))
            switch next(10) {
            case 0: 
                wheel.set(key, .never)
                expected[key] = .max
            case 1...5:
                let deadline = now + next(2_000_000_000)
                wheel.set(key, Instant(nanoseconds: deadline))
                expected[key] = deadline
            default:
                let wake = wheel.nextWake(after: Instant(nanoseconds: now))
                if let earliest = expected.min(), earliest != .max {
                    #expect(wake.nanoseconds <= max(earliest, now) + 3 * tick)
                }
                now += next(50_000_000)
                var due: [Int] = []
                wheel.expire(at: Instant(nanoseconds: now), into: &due)
                for key in due {
                    #expect(expected[key] <= now)
                    expected[key] = .max
                }
                for deadline in expected { #expect(deadline > now - 2 * tick) }
            }
        }
    }
}
