import CLinux
import TestKit

/// How one direction of a session's bytes moves: sizes in bytes, times in nanoseconds.
struct Pace {
    var total = 0
    /// Sent in pieces of this size, one in each interval.
    var burst = 64 * 1024
    var interval: Int64 = 0
    /// Read in pieces of this size, one in each `gulpEvery`.
    var gulp = 256 * 1024
    var gulpEvery: Int64 = 0
    /// After so many bytes the reader looks away for `stall`; 0 is never.
    var stallAfter = 0
    var stall: Int64 = 0
}

/// One direction of a session: every byte depends on its place, and every byte is compared.
final class Flow {
    /// What was wrong with the bytes that came.
    enum Fault: Equatable {
        case lost(Int)
        case doubled(Int)
        /// Neither: other bytes than were sent at that place.
        case altered
        /// More than were sent.
        case extra(Int)
    }

    let pace: Pace
    private let seed: Int
    private(set) var sent = 0
    private(set) var received = 0
    /// The place of a byte that is sent wrong, to see whether that is noticed.
    var alterAt: Int?
    /// Since when the reader has been waiting for bytes that were sent; 0 while it does not.
    private var waitingSince: Int64 = 0
    private var isReading: Bool
    /// The reader waited so long for bytes that were on their way.
    var onPause: (_ from: Int64, _ to: Int64) -> Void = { _, _ in }

    /// `isReading`: whether somebody takes bytes from the start; a worker does so only once it has the job.
    init(_ pace: Pace, seed: Int, isReading: Bool = true) {
        self.pace = pace
        self.isReading = isReading
        self.seed = seed % Pattern.period
    }

    var isSent: Bool { sent == pace.total }
    var isReceived: Bool { received == pace.total }
    var oldestWait: Int64 { waitingSince }

    /// The next bytes to send, at most `most`, without a copy.
    func next(_ most: Int, _ use: (UnsafeRawBufferPointer) -> Int) -> Int {
        let offset = (sent + seed) % Pattern.period
        var length = min(most, Pattern.period - offset, pace.total - sent)
        if let alterAt, alterAt >= sent, alterAt < sent + length {
            if alterAt > sent {
                length = alterAt - sent
            } else {
                var wrong = ~Pattern.base[offset]
                return withUnsafeBytes(of: &wrong) { use($0) }
            }
        }
        return Pattern.base.withUnsafeBytes { use(UnsafeRawBufferPointer(rebasing: $0[offset..<offset + length])) }
    }

    func didSend(_ count: Int, at now: Int64) {
        sent += count
        if waitingSince == 0, isReading { waitingSince = now }
    }

    /// The reader looks away (or comes back): what is late then is its own doing.
    func reader(isReading: Bool, at now: Int64) {
        self.isReading = isReading
        waitingSince = isReading && sent > received ? now : 0
    }

    /// Compares what came; nil when it is right.
    func receive(_ bytes: UnsafeRawBufferPointer, at now: Int64) -> Fault? {
        if waitingSince != 0, now > waitingSince { onPause(waitingSince, now) }
        if received + bytes.count > pace.total { return .extra(received + bytes.count - pace.total) }
        var done = 0
        while done < bytes.count {
            let offset = (received + done + seed) % Pattern.period
            let length = min(bytes.count - done, Pattern.period - offset)
            let same = Pattern.base.withUnsafeBytes { memcmp(bytes.baseAddress! + done, $0.baseAddress! + offset, length) == 0 }
            guard same else { return judge(bytes, from: done, expected: offset) }
            done += length
        }
        received += bytes.count
        waitingSince = isReading && sent > received ? now : 0
        return nil
    }

    /// Where in the pattern the wrong bytes come from says what happened to those before them.
    private func judge(_ bytes: UnsafeRawBufferPointer, from: Int, expected: Int) -> Fault {
        var (at, offset) = (from, expected)
        while bytes[at] == Pattern.base[offset] {
            at += 1
            offset = (offset + 1) % Pattern.period
        }
        let window = Array(bytes[at..<min(bytes.count, at + 16)])
        guard window.count >= 8 else { return .altered }
        let found = Pattern.base.withUnsafeBytes { base in
            (0..<base.count - window.count).first { place in
                base[place] == window[0] && memcmp(base.baseAddress! + place, window, window.count) == 0
            }
        }
        guard let found else { return .altered }
        let ahead = (found - offset + Pattern.period) % Pattern.period
        return ahead <= Pattern.period / 2 ? .lost(ahead) : .doubled(Pattern.period - ahead)
    }
}
