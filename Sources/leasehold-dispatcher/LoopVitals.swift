import DispatcherCore
import Model

/// What one loop counts, in the memory of its records: a successor goes on counting.
struct LoopVitals {
    /// What belongs to no pool: answers to what never became a job.
    let none: PoolVitals
    /// By the index of ``Rules/pools``.
    private var pools: [PoolVitals] = []
    private let records: Records

    init(_ records: Records, pools: [Rules.Pool]) {
        self.records = records
        none = records.vitals(0)
        follow(pools)
    }

    /// Pools are added and never taken away.
    mutating func follow(_ all: [Rules.Pool]) {
        for pool in all[pools.count...] { pools.append(block(of: pool.id)) }
    }

    @inline(__always)
    subscript(_ pool: UInt16) -> PoolVitals { pools[Int(pool)] }

    /// Blocks in use, with the pools that they count.
    var all: [PoolVitals] { pools }

    /// The pool's own block, a free one, or one that ends with the process.
    private func block(of pool: PoolID) -> PoolVitals {
        for index in 1..<RecordLayout.vitalsBlocks {
            let block = records.vitals(index)
            if block.pool == pool { return block }
            guard block.pool == nil else { continue }
            block.begin(pool)
            return block
        }
        let words = UnsafeMutablePointer<UInt64>.allocate(capacity: PoolVitals.Layout.words)
        words.initialize(repeating: 0, count: PoolVitals.Layout.words)
        let block = PoolVitals(words)
        block.begin(pool)
        return block
    }
}

extension Records {
    func vitals(_ index: Int) -> PoolVitals { PoolVitals(words(at: RecordLayout.vitalsAt + index * PoolVitals.Layout.words)) }
}

/// What another thread may read of a loop's counts.
struct VitalsBoard: Sendable {
    /// What belongs to no pool; nil before there is anything.
    var none: PoolVitals?
    var pools: [PoolVitals] = []
}
