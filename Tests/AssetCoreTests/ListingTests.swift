import AssetCore
import TestKit
import Testing

@Suite struct ListingTests {
    /// What the shell does with the index, on a sorted array.
    private func page(_ keys: [[UInt8]], _ page: Listing) -> (page: Listing, looks: Int) {
        var page = page
        var looks = 0
        while let next = page.next {
            looks += 1
            guard let key = keys.first(where: { !$0.lexicographicallyPrecedes(next) }) else {
                page.end()
                break
            }
            _ = page.take(ObjectKey(unchecked: key))
        }
        return (page, looks)
    }

    @Test(arguments: 0..<60) func pagesTogetherShowWhatAPlainWalkShows(round: Int) {
        let seed = UInt64.random(in: 1 ... .max)
        var draw = SeededGenerator(seed: seed)
        let alphabet = Array("ab/".utf8) + [0xff, 0x00]
        func word(_ most: Int) -> [UInt8] {
            (0..<Int.random(in: 0...most, using: &draw)).map { _ in alphabet.randomElement(using: &draw) ?? 0 }
        }
        let keys = Set((0..<60).map { _ in word(6) }.filter { !$0.isEmpty }).sorted { $0.lexicographicallyPrecedes($1) }
        let (prefix, delimiter) = (word(2), Array(word(2).prefix(2)))
        var contents: [[UInt8]] = []
        var prefixes: [[UInt8]] = []
        for key in keys where key.starts(with: prefix) {
            let rest = key.dropFirst(prefix.count)
            let cut = delimiter.isEmpty ? nil : rest.indices.first { rest[$0...].starts(with: delimiter) }
            if let cut {
                let rolled = Array(key[..<(cut + delimiter.count)])
                if prefixes.last != rolled { prefixes.append(rolled) }
            } else {
                contents.append(key)
            }
        }
        for size in [1, 2, 3, 1000] {
            var (seen, rolled, after) = ([[UInt8]](), [[UInt8]](), [UInt8]())
            while true {
                let (page, looks) = page(keys, Listing(prefix: prefix, delimiter: delimiter, after: after, most: size))
                #expect(looks <= page.keys.count + page.commonPrefixes.count + 1, "seed \(seed)")
                seen += page.keys.map(\.bytes)
                rolled += page.commonPrefixes
                guard page.isTruncated, let last = page.last else { break }
                after = last
            }
            #expect(seen == contents && rolled == prefixes, "seed \(seed), pages of \(size)")
        }
    }

    @Test func aPageOfNothingEndsAtOnce() {
        let (page, _) = page([[1]], Listing(prefix: [], delimiter: [], after: [], most: 0))
        #expect(page.keys.isEmpty && !page.isTruncated)
    }

    @Test(arguments: [([1, 2], [1, 3]), ([1, 0xff], [2]), ([0xff, 0xff], nil), ([], nil)] as [([UInt8], [UInt8]?)])
    func theSuccessorOfAPrefixIsTheLeastThatFollowsAllOfIt(prefix: [UInt8], successor: [UInt8]?) {
        #expect(Listing.successor(prefix) == successor)
    }
}
