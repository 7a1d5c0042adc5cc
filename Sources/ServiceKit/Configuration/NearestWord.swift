/// The word of `words` that `text` was most likely meant to be, or nil when none is close.
///
/// Close is an edit distance of at most a third of the longer word, and at most 3; two neighbouring letters swapped
/// count as one edit (optimal string alignment), and a shared beginning or end counts as close too
/// (`max` for `max-queued`). O(words × length²).
func nearestWord(to text: String, among words: [String]) -> String? {
    let wanted = Array(text.lowercased().replacing("_", with: "-").utf8.prefix(64))
    var best: (word: String, distance: Int)?
    for word in words {
        let candidate = Array(word.lowercased().utf8)
        let distance = editDistance(wanted, candidate)
        guard distance <= min(3, max(wanted.count, candidate.count) / 3) else { continue }
        if best.map({ distance < $0.distance }) ?? true { best = (word, distance) }
    }
    if let best { return best.word }
    guard wanted.count >= 3 else { return nil }
    return words.first { word in
        let candidate = Array(word.utf8)
        return candidate.starts(with: wanted) || candidate.reversed().starts(with: wanted.reversed())
            || (candidate.count >= 3 && (wanted.starts(with: candidate) || wanted.reversed().starts(with: candidate.reversed())))
    }
}

private func editDistance(_ a: [UInt8], _ b: [UInt8]) -> Int {
    var beforePrevious = [Int](repeating: 0, count: b.count + 1)
    var previous = Array(0...b.count)
    for i in 0..<a.count {
        var row = [i + 1]
        row.reserveCapacity(b.count + 1)
        for j in 0..<b.count {
            var cost = min(previous[j + 1] + 1, row[j] + 1, previous[j] + (a[i] == b[j] ? 0 : 1))
            if i > 0, j > 0, a[i] == b[j - 1], a[i - 1] == b[j] { cost = min(cost, beforePrevious[j - 1] + 1) }
            row.append(cost)
        }
        beforePrevious = previous
        previous = row
    }
    return previous[b.count]
}
