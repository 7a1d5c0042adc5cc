import Model
import TestKit
import Testing

@testable import AssetCore

private func name(_ key: String) -> BackedName { BackedName(bucket: "assets", key: Array(key.utf8)) }
private func at(_ milliseconds: Int64) -> Instant { Instant(nanoseconds: milliseconds * 1_000_000) }
private func caller(_ number: UInt64) -> Tier.Caller { Tier.Caller(number: number) }

extension Tier {
    init(_ mode: Mode, mostQueued: Int = 100, mostAtOnce: Int = 2, checkAfter: Duration = .seconds(60)) {
        self.init(Policy(mode: mode, mostQueued: mostQueued, mostAtOnce: mostAtOnce, checkAfter: checkAfter))
    }

    mutating func handle(_ input: Input, at now: Instant) -> [Action] {
        var actions: [Action] = []
        handle(input, at: now, into: &actions)
        checkInvariants()
        return actions
    }
}

@Suite struct TierTests {
    // MARK: Reading

    @Test func twoHundredReadersAreOneQuestion() {
        var tier = Tier(.readThrough)
        #expect(tier.handle(.reading(caller(0), name("a"), .absent, .whole, since: 0), at: at(0)) == [.ask(name("a"), .whole, hasCopy: false)])
        for i in 1..<200 { #expect(tier.handle(.reading(caller(UInt64(i)), name("a"), .absent, .whole, since: 0), at: at(1)).isEmpty) }
        let answers = tier.handle(.found(name("a"), .whole, .kept), at: at(2))
        #expect(answers == (0..<200).map { .answer(caller($0), .look) })
        #expect(tier.asking == 0)
    }

    @Test(arguments: [
        (Tier.Here.own, [Tier.Action.answer(caller(1), .look)]), (.removed, [.answer(caller(1), .look)]),
        (.absent, [.ask(name("a"), .whole, hasCopy: false)]), (.copy, [.ask(name("a"), .whole, hasCopy: true)]),
    ]) func whatIsHereDecidesWhetherTheStoreBehindIsAsked(here: Tier.Here, wanted: [Tier.Action]) {
        for mode in [Tier.Mode.readThrough, .writeThrough, .writeBack] {
            var tier = Tier(mode)
            #expect(tier.handle(.reading(caller(1), name("a"), here, .whole, since: 0), at: at(0)) == wanted)
        }
    }

    @Test(arguments: [
        (Tier.Found.holds, Tier.Answer.look), (.kept, .look), (.head, .head), (.nothing, .look), (.noRoom, .relay), (.overtaken, .again),
        (.away, .away), (.refused, .refused),
    ]) func whatIsFoundDecidesWhatReadersAreTold(found: Tier.Found, answer: Tier.Answer) {
        var tier = Tier(.readThrough)
        _ = tier.handle(.reading(caller(1), name("a"), .absent, .whole, since: 0), at: at(0))
        #expect(tier.handle(.found(name("a"), .whole, found), at: at(1)).contains(.answer(caller(1), answer)))
    }

    @Test func aCopyIsBelievedForAWhileAndServedWhileNobodyAnswers() {
        var tier = Tier(.readThrough, checkAfter: .seconds(60))
        _ = tier.handle(.reading(caller(1), name("a"), .absent, .whole, since: 0), at: at(0))
        _ = tier.handle(.found(name("a"), .whole, .kept), at: at(0))
        #expect(tier.handle(.reading(caller(2), name("a"), .copy, .whole, since: 0), at: at(59_999)) == [.answer(caller(2), .look)])
        #expect(tier.handle(.reading(caller(3), name("a"), .copy, .whole, since: 0), at: at(60_000)) == [.ask(name("a"), .whole, hasCopy: true)])
        #expect(tier.handle(.found(name("a"), .whole, .away), at: at(60_001)) == [.away, .answer(caller(3), .look)])
        // Nobody waits for one who does not answer; what is not here is refused at once.
        #expect(tier.handle(.reading(caller(4), name("a"), .copy, .whole, since: 0), at: at(60_002)) == [.answer(caller(4), .look)])
        #expect(tier.handle(.reading(caller(5), name("b"), .absent, .whole, since: 0), at: at(60_002)) == [.answer(caller(5), .away)])
        #expect(tier.handle(.reading(caller(6), name("b"), .absent, .whole, since: 0), at: at(60_300)) == [.ask(name("b"), .whole, hasCopy: false)])
        #expect(tier.handle(.found(name("b"), .whole, .nothing), at: at(60_301)) == [.back, .answer(caller(6), .look)])
        #expect(tier.handle(.reading(caller(7), name("a"), .copy, .whole, since: 0), at: at(60_302)) == [.ask(name("a"), .whole, hasCopy: true)])
    }

    @Test func whatCameWhileAReaderLookedIsNotAskedForAgain() {
        var tier = Tier(.readThrough)
        let before = tier.landings
        _ = tier.handle(.reading(caller(1), name("a"), .absent, .whole, since: before), at: at(0))
        _ = tier.handle(.found(name("a"), .whole, .kept), at: at(1))
        #expect(tier.handle(.reading(caller(2), name("a"), .absent, .whole, since: before), at: at(2)) == [.answer(caller(2), .again)])
        // Evicted since.
        #expect(
            tier.handle(.reading(caller(2), name("a"), .absent, .whole, since: tier.landings), at: at(3))
                == [.ask(name("a"), .whole, hasCopy: false)])
    }

    @Test func theMemoryOfWhatWasCheckedIsBounded() {
        var tier = Tier(.readThrough)
        for i in 0...Tier.mostChecked {
            _ = tier.handle(.reading(caller(1), name("\(i)"), .absent, .head, since: tier.landings), at: at(0))
            _ = tier.handle(.found(name("\(i)"), .head, .holds), at: at(0))
        }
        #expect(tier.handle(.reading(caller(1), name("0"), .copy, .whole, since: 0), at: at(1)) == [.ask(name("0"), .whole, hasCopy: true)])
        #expect(tier.handle(.reading(caller(1), name("\(Tier.mostChecked)"), .copy, .whole, since: 0), at: at(1)) == [.answer(caller(1), .look)])
    }

    // MARK: Writing

    @Test func anAnswerFromBeforeAWriteIsNotKeptAfterIt() {
        for mode in [Tier.Mode.readThrough, .writeThrough, .writeBack] {
            var tier = Tier(mode)
            _ = tier.handle(.reading(caller(1), name("a"), .absent, .whole, since: 0), at: at(0))
            #expect(tier.mayKeep(name("a"), .whole))
            #expect(tier.handle(.writing(caller(2), name("a")), at: at(1)) == [.answer(caller(2), .turn)])
            #expect(!tier.mayKeep(name("a"), .whole))
            _ = tier.handle(.wrote(name("a"), isDone: true), at: at(2))
            #expect(!tier.mayKeep(name("a"), .whole))
            #expect(tier.handle(.found(name("a"), .whole, .nothing), at: at(3)) == [.answer(caller(1), .again)])
        }
    }

    /// The reader looked while there was nothing, or something else; the store behind may answer with what it had before the write.
    @Test(arguments: [Tier.Here.absent, .copy]) func anAnswerThatWasAskedForWhileAWriteWasNotDurableIsNotKeptAfterIt(here: Tier.Here) {
        for (need, found) in [(Tier.Need.whole, Tier.Found.overtaken), (.head, .head)] {
            var tier = Tier(.writeBack)
            _ = tier.handle(.writing(caller(1), name("a")), at: at(0))
            #expect(tier.handle(.reading(caller(2), name("a"), here, need, since: 0), at: at(1)) == [.ask(name("a"), need, hasCopy: here == .copy)])
            #expect(tier.handle(.changed(name("a"), generation: 1), at: at(2)) == [.send(name("a"), generation: 1)])
            _ = tier.handle(.wrote(name("a"), isDone: true), at: at(3))
            _ = tier.handle(.sent(name("a"), .done), at: at(4))
            #expect(!tier.mayKeep(name("a"), need))
            #expect(tier.handle(.found(name("a"), need, found), at: at(5)) == [.answer(caller(2), .again)])
        }
    }

    @Test func nobodyAsksForWhatIsStillToBeSent() {
        var tier = Tier(.writeBack)
        // The readers looked before it was durable.
        _ = tier.handle(.changed(name("a"), generation: 1), at: at(0))
        #expect(tier.handle(.reading(caller(1), name("a"), .absent, .whole, since: 0), at: at(1)) == [.answer(caller(1), .again)])
        #expect(tier.handle(.reading(caller(2), name("a"), .copy, .head, since: 0), at: at(1)) == [.answer(caller(2), .look)])
        _ = tier.handle(.sent(name("a"), .done), at: at(2))
        #expect(
            tier.handle(.reading(caller(3), name("a"), .absent, .whole, since: tier.landings), at: at(3))
                == [.ask(name("a"), .whole, hasCopy: false)])
    }

    @Test func inWriteThroughWritersOfOneNameGoOneAfterTheOtherAndReadersWait() {
        var tier = Tier(.writeThrough)
        #expect(tier.handle(.writing(caller(1), name("a")), at: at(0)) == [.answer(caller(1), .turn)])
        #expect(tier.handle(.writing(caller(2), name("a")), at: at(0)).isEmpty)
        #expect(tier.handle(.writing(caller(3), name("b")), at: at(0)) == [.answer(caller(3), .turn)])
        #expect(tier.handle(.reading(caller(4), name("a"), .absent, .whole, since: 0), at: at(0)).isEmpty)
        #expect(tier.handle(.wrote(name("a"), isDone: true), at: at(1)) == [.answer(caller(4), .again), .answer(caller(2), .turn)])
        // What was written is believed, what failed is not.
        _ = tier.handle(.wrote(name("a"), isDone: true), at: at(2))
        #expect(tier.handle(.reading(caller(5), name("a"), .copy, .whole, since: 0), at: at(3)) == [.answer(caller(5), .look)])
        _ = tier.handle(.writing(caller(6), name("a")), at: at(4))
        _ = tier.handle(.wrote(name("a"), isDone: false), at: at(5))
        #expect(tier.handle(.reading(caller(7), name("a"), .copy, .whole, since: 0), at: at(6)) == [.ask(name("a"), .whole, hasCopy: true)])
    }

    @Test func aFullQueueTurnsWritersAwayButNotThoseOfWhatIsInIt() {
        var tier = Tier(.writeBack, mostQueued: 2, mostAtOnce: 1)
        for key in ["a", "b"] {
            #expect(tier.handle(.writing(caller(1), name(key)), at: at(0)) == [.answer(caller(1), .turn)])
        }
        // Both have their turn, and are not in the queue yet.
        #expect(tier.handle(.writing(caller(3), name("c")), at: at(0)) == [.answer(caller(3), .queueFull)])
        #expect(tier.handle(.changed(name("a"), generation: 1), at: at(1)) == [.send(name("a"), generation: 1)])
        _ = tier.handle(.wrote(name("a"), isDone: true), at: at(1))
        _ = tier.handle(.changed(name("b"), generation: 2), at: at(1))
        _ = tier.handle(.wrote(name("b"), isDone: true), at: at(1))
        #expect(tier.handle(.writing(caller(3), name("c")), at: at(1)) == [.answer(caller(3), .queueFull)])
        #expect(tier.handle(.writing(caller(4), name("a")), at: at(1)) == [.answer(caller(4), .turn)])
        _ = tier.handle(.wrote(name("a"), isDone: false), at: at(1))
        #expect(tier.handle(.sent(name("a"), .done), at: at(2)) == [.send(name("b"), generation: 2)])
        #expect(tier.handle(.writing(caller(3), name("c")), at: at(3)) == [.answer(caller(3), .turn)])
    }

    // MARK: The queue

    @Test func aNameIsSentOnceAtATimeAndTheNewestWins() {
        var tier = Tier(.writeBack, mostAtOnce: 1)
        #expect(tier.handle(.changed(name("a"), generation: 1), at: at(0)) == [.send(name("a"), generation: 1)])
        #expect(tier.handle(.changed(name("b"), generation: 2), at: at(0)).isEmpty)
        for generation in 3..<9 { #expect(tier.handle(.changed(name("a"), generation: Int64(generation)), at: at(0)).isEmpty) }
        #expect(tier.queue.count == 2)
        #expect(tier.handle(.sent(name("a"), .done), at: at(1)) == [.send(name("b"), generation: 2)])
        #expect(tier.handle(.sent(name("b"), .done), at: at(1)) == [.send(name("a"), generation: 8)])
        #expect(tier.handle(.sent(name("a"), .done), at: at(1)).isEmpty)
        #expect(tier.queue.count == 0 && tier.nextWake == nil)
    }

    @Test func whileTheStoreBehindIsAwayOneIsTriedForEachPauseAndThePausesGrow() throws {
        var tier = Tier(.writeBack, mostAtOnce: 4)
        for i in 1...6 { _ = tier.handle(.changed(name("\(i)"), generation: Int64(i)), at: at(0)) }
        #expect(tier.handle(.sent(name("1"), .away), at: at(0)) == [.away])
        for key in ["2", "3", "4"] { #expect(tier.handle(.sent(name(key), .away), at: at(0)).isEmpty) }
        var (now, tries, pauses) = (at(0), 0, [Duration]())
        while tries < 10 {
            let wake = try #require(tier.nextWake)
            pauses.append(wake - now)
            #expect(tier.handle(.woke, at: Instant(nanoseconds: wake.nanoseconds - 1)).isEmpty)
            now = wake
            let actions = tier.handle(.woke, at: now)
            guard case .send(let name, _)? = actions.first, actions.count == 1 else { return #expect(Bool(false), "\(actions)") }
            #expect(tier.handle(.sent(name, .away), at: now).isEmpty)
            tries += 1
        }
        #expect(pauses == pauses.sorted() && pauses.last == BackingHealth.longestPause)
        let actions = tier.handle(.woke, at: try #require(tier.nextWake))
        guard case .send(let first, _)? = actions.first else { return #expect(Bool(false)) }
        let after = tier.handle(.sent(first, .done), at: now + .seconds(31))
        #expect(after.first == .back && after.count == 5, "\(after)")
    }

    @Test func whatIsRefusedRestsAndTheOthersGoOn() throws {
        var tier = Tier(.writeBack, mostAtOnce: 1)
        _ = tier.handle(.changed(name("bad"), generation: 1), at: at(0))
        _ = tier.handle(.changed(name("good"), generation: 2), at: at(0))
        #expect(tier.handle(.sent(name("bad"), .refused), at: at(0)) == [.send(name("good"), generation: 2)])
        #expect(tier.queue.refused == 1)
        #expect(tier.handle(.sent(name("good"), .done), at: at(1)).isEmpty)
        #expect(tier.nextWake == at(0) + UploadQueue.firstRest)
        #expect(tier.handle(.woke, at: at(999)).isEmpty)
        #expect(tier.handle(.woke, at: at(1_000)) == [.send(name("bad"), generation: 1)])
        #expect(tier.handle(.sent(name("bad"), .refused), at: at(1_000)).isEmpty)
        #expect(tier.nextWake == at(3_000))
    }

    @Test func whereWritesStayHereNothingIsSent() {
        var tier = Tier(.readThrough)
        #expect(tier.handle(.changed(name("a"), generation: 1), at: at(0)).isEmpty)
        #expect(tier.nextWake == nil)
    }

    /// Writes, deletes and failures at random: in the end the store behind has what is here, and never went back to something older.
    @Test func theStoreBehindEndsWithWhatIsHereAndNeverGoesBack() throws {
        for _ in 0..<200 {
            let seed = UInt64.random(in: 1 ... .max)
            var draw = SeededGenerator(seed: seed)
            var tier = Tier(.writeBack, mostQueued: 4, mostAtOnce: Int.random(in: 1...3, using: &draw))
            var (now, generation) = (at(0), Int64(0))
            var here: [BackedName: Int64] = [:]
            var behind: [BackedName: Int64] = [:]
            // What the shell reads when it begins to send: at least what the machine named.
            var underWay: [BackedName: Int64] = [:]
            func take(_ actions: [Tier.Action]) {
                for action in actions {
                    guard case .send(let name, let named) = action else { continue }
                    #expect(underWay[name] == nil && named <= here[name] ?? 0, "seed \(seed)")
                    underWay[name] = here[name] ?? 0
                }
            }
            func finish(_ name: BackedName, _ outcome: UploadQueue.Outcome) {
                guard let sent = underWay.removeValue(forKey: name) else { return }
                if outcome == .done {
                    #expect(behind[name] ?? 0 <= sent, "seed \(seed): \(name.key) went back")
                    behind[name] = sent
                }
                take(tier.handle(.sent(name, outcome), at: now))
            }
            for _ in 0..<300 {
                now = now + .milliseconds(Int64.random(in: 0...400, using: &draw))
                let name = name(["a", "b", "c", "d", "e"].randomElement(using: &draw)!)
                switch Int.random(in: 0..<10, using: &draw) {
                case 0...3:
                    let answers = tier.handle(.writing(caller(1), name), at: now)
                    take(answers)
                    guard answers.contains(.answer(caller(1), .turn)) else { break }
                    if Bool.random(using: &draw) {
                        generation += 1
                        here[name] = generation
                        take(tier.handle(.changed(name, generation: generation), at: now))
                    }
                    take(tier.handle(.wrote(name, isDone: true), at: now))
                case 4...6: finish(name, .done)
                case 7: finish(name, .away)
                case 8: finish(name, .refused)
                default: take(tier.handle(.woke, at: now))
                }
                #expect(tier.queue.count <= 4, "seed \(seed)")
            }
            for _ in 0..<1_000 where tier.queue.count > 0 {
                for name in underWay.keys.sorted(by: { $0.key.lexicographicallyPrecedes($1.key) }) { finish(name, .done) }
                guard tier.queue.count > 0, underWay.isEmpty else { continue }
                now = max(now, try #require(tier.nextWake, "seed \(seed): nobody wakes it"))
                take(tier.handle(.woke, at: now))
            }
            #expect(tier.queue.count == 0 && behind == here, "seed \(seed)")
        }
    }
}

@Suite struct BackingFormTests {
    @Test(arguments: [("", "assets", "a/b", "assets/a/b"), ("nodes/", "assets", "", "nodes/assets/"), ("x", ".profiles", "ann/shop/1", "x.profiles/ann/shop/1")])
    func aNameHasOnePlace(prefix: String, bucket: String, key: String, wanted: String) {
        let place = BackingPlace(prefix: prefix)
        let name = BackedName(bucket: bucket, key: Array(key.utf8))
        #expect(place.key(of: name) == Array(wanted.utf8))
        #expect(place.name(of: Array(wanted.utf8)) == name)
        #expect(place.name(of: Array("elsewhere".utf8)) == nil)
    }

    @Test func aNameThatIsTooLongThereDoesNotFit() {
        let place = BackingPlace(prefix: "nodes/")
        #expect(place.fits(BackedName(bucket: "abc", key: [UInt8](repeating: 97, count: 1_014))))
        #expect(!place.fits(BackedName(bucket: "abc", key: [UInt8](repeating: 97, count: 1_015))))
    }

    @Test(arguments: [nil, BackedNote.Checksum(algorithm: "SHA256", value: "47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=-3", type: "COMPOSITE")])
    func aNoteComesBackAsItWent(checksum: BackedNote.Checksum?) {
        let note = BackedNote(etag: "0123456789abcdef0123456789abcdef-10000", modified: Timestamp(milliseconds: 1_795_268_785_123), checksum: checksum)
        #expect(BackedNote(note.text) == note)
        #expect(note.text.utf8.count + BackedNote.field.utf8.count <= BackedNote.mostBytes)
    }

    @Test(arguments: ["", "etag", "etag=a", "modified=1", "etag=;modified=1", "etag=\"a\";modified=1", "etag=a;modified=x", "etag=a;modified=1;checksum=b"])
    func whatIsNoNoteIsNone(text: String) { #expect(BackedNote(text) == nil) }

    @Test func aPageOfAListingIsReadWhateverWroteIt() throws {
        let page = try BackingPage(
            xml: Array(
                """
                <?xml version="1.0" encoding="UTF-8"?><ListBucketResult xmlns="http://s3.amazonaws.com/doc/2006-03-01/"><Name>b</Name>
                <EncodingType>url</EncodingType><IsTruncated>true</IsTruncated><NextMarker>a%2Fd%2F</NextMarker>
                <Contents><Key>a%2Fc+d%2Be</Key><LastModified>2026-11-21T08:13:41.000Z</LastModified><ETag>&quot;abc&quot;</ETag><Size>7</Size></Contents>
                <CommonPrefixes><Prefix>a%2Fb%2F</Prefix></CommonPrefixes></ListBucketResult>
                """.utf8))
        #expect(page.rows.map { String(decoding: $0.key, as: UTF8.self) } == ["a/b/", "a/c d+e"])
        #expect(page.rows[1].etag == "abc" && page.rows[1].size == 7 && page.rows[0].etag == nil)
        #expect(page.next == Array("a/d/".utf8))
        for bad in ["", "<a/>", "<ListBucketResult><Contents><Key>a</Key></Contents></ListBucketResult>"] {
            #expect(throws: S3Error.self) { try BackingPage(xml: Array(bad.utf8)) }
        }
    }
}
