import Model
import Testing
import TestKit
import WatcherCore

@Suite struct SavedStateTests {
    private static func state(_ count: Int, seed: UInt64 = 1) -> SavedState {
        var random = SeededGenerator(seed: seed)
        var state = SavedState(
            generation: random.next(), age: .microseconds(Int64.random(in: 0..<1_000_000_000, using: &random)), endpoints: [:])
        for index in 0..<count {
            let endpoint = Endpoint(
                id: EndpointID(high: random.next(), low: random.next()), uid: "uid-\(index)", name: "pod-\(index)",
                addresses: [SocketAddress(v4: UInt32(index), port: 80)],
                conditions: .init(rawValue: UInt8.random(in: 0..<8, using: &random)),
                node: "node", zone: "zone", isLocal: Bool.random(using: &random))
            state.endpoints[PoolID(rawValue: UInt32.random(in: 0..<4, using: &random)), default: [:]][endpoint.id] = endpoint
        }
        return state
    }

    private static func bytes(_ state: SavedState) -> [UInt8] {
        var bytes: [UInt8] = []
        state.encode { bytes += $0 }
        return bytes
    }

    private static func read(_ bytes: [UInt8]) throws(SavedState.Damage) -> SavedState {
        let result = bytes.withUnsafeBytes { buffer -> Result<SavedState, SavedState.Damage> in
            do throws(SavedState.Damage) { return .success(try SavedState(buffer)) } catch { return .failure(error) }
        }
        return try result.get()
    }

    @Test(arguments: [0, 1, 7, 5_000])
    func whatIsWrittenIsReadAgain(count: Int) throws {
        let state = Self.state(count)
        #expect(try Self.read(Self.bytes(state)) == state)
    }

    @Test func aTornFileIsNoState() {
        let bytes = Self.bytes(Self.state(5))
        for length in 0..<bytes.count {
            #expect(throws: SavedState.Damage.self) { try Self.read(Array(bytes[..<length])) }
        }
        #expect(throws: SavedState.Damage.self) { try Self.read(bytes + [0]) }
    }

    @Test func aRottenByteIsNoticed() {
        let bytes = Self.bytes(Self.state(5))
        for index in bytes.indices {
            var rotten = bytes
            rotten[index] ^= 0x10
            #expect(throws: SavedState.Damage.self) { try Self.read(rotten) }
        }
    }

    @Test func anyBytesAtAllAreReadWithoutHarm() {
        var random = SeededGenerator(seed: 9)
        print("seed 9")
        for _ in 0..<2_000 {
            let bytes = (0..<Int.random(in: 0..<200, using: &random)).map { _ in UInt8.random(in: 0...255, using: &random) }
            #expect(throws: SavedState.Damage.self) { try Self.read(bytes) }
        }
    }
}
