import Foundation
import Kubernetes
import TestKit
import Testing

@Suite struct JSONLocatorTests {
    private func position(_ path: [ManifestError.Step], in text: String) -> JSONLocator.Position? {
        Array(text.utf8).withUnsafeBufferPointer { JSONLocator.position(of: path, in: $0) }
    }

    private func mistake(_ bytes: [UInt8]) -> (position: JSONLocator.Position, problem: String)? {
        bytes.withUnsafeBufferPointer { JSONLocator.firstMistake(in: $0) }
    }

    private static let text = """
        {
          "a": [1, {"b\\"": "}", "c": null}],
          "d": {"e": [[], {}, [
            true, "x"
          ]]}
        }
        """

    @Test(
        arguments: [
            ([], 1, 1),
            ([.field("a")], 2, 8),
            ([.field("a"), .index(1)], 2, 12),
            ([.field("a"), .index(1), .field("c")], 2, 30),
            ([.field("d"), .field("e"), .index(2), .index(1)], 4, 11),
            ([.field("d"), .field("missing")], 3, 8),
            ([.field("a"), .index(7)], 2, 8),
            ([.field("a"), .field("not a mapping")], 2, 8),
        ] as [([ManifestError.Step], Int, Int)])
    func aPathIsFoundOrItsNearestParent(path: [ManifestError.Step], line: Int, column: Int) {
        #expect(position(path, in: Self.text) == JSONLocator.Position(line: line, column: column))
    }

    @Test func aMistakeIsFoundWhereverItIs() throws {
        let whole = try fixture("services.list.json")
        #expect(mistake(Array(whole)) == nil)
        for length in stride(from: 0, to: whole.count, by: 7) {
            #expect(mistake(Array(whole.prefix(length))) != nil)
        }
    }

    @Test func whatADecoderAcceptsHasNoMistakeAndNothingTraps() throws {
        let whole = Array(try fixture("services.list.json").prefix(3000))
        var random = SeededGenerator(seed: 5)
        print("seed 5")
        let interesting = Array("{}[]\",:\\0ntf-. \n\u{1}".utf8) + [0xff, 0xc3]
        for _ in 0..<3_000 {
            var bytes = Array(whole.prefix(Int.random(in: 0...whole.count, using: &random)))
            for _ in 0..<Int.random(in: 1...4, using: &random) where !bytes.isEmpty {
                let place = Int.random(in: 0..<bytes.count, using: &random)
                switch Int.random(in: 0..<3, using: &random) {
                case 0: bytes[place] = interesting.randomElement(using: &random)!
                case 1: bytes.insert(interesting.randomElement(using: &random)!, at: place)
                default: bytes.remove(at: place)
                }
            }
            let isAccepted = (try? JSONSerialization.jsonObject(with: Data(bytes), options: .fragmentsAllowed)) != nil
            let found = mistake(bytes)
            if isAccepted { #expect(found == nil) }
            if let found { #expect(found.position.line > 0 && found.position.column > 0 && !found.problem.isEmpty) }
            _ = bytes.withUnsafeBufferPointer {
                JSONLocator.position(of: [.field("items"), .index(1), .field("spec"), .field("ports")], in: $0)
            }
        }
    }
}
