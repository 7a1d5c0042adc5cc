import Foundation
import Kubernetes
import Yams

/// Reads a file of manifests: YAML or JSON, one document, several, or a List.
///
/// JSON has a reader of its own, because it is how large states are written: 100,000 endpoints in 1,000 slices (34 MB) take
/// 0.7 s as JSON and 16 s as YAML. What only looks like JSON is read as YAML.
enum ManifestFile {
    /// Larger files are refused: reading them would stop everything else for longer than a watchdog waits.
    static let mostJSONBytes = 256 << 20
    static let mostYAMLBytes = 8 << 20

    /// Why a file cannot be read, and where.
    struct Problem: Error, Hashable {
        var line: Int?
        var column: Int?
        var text: String

        /// `web.yaml:3:7: endpoints[0].addresses: expected a list`.
        func sentence(file: String) -> String {
            let place = [line, column].compactMap { $0.map { ":\($0)" } }.joined()
            return "\(file)\(place): \(text)"
        }
    }

    /// `name` says whether it has to be JSON.
    static func parse(_ bytes: [UInt8], name: String) throws(Problem) -> Manifest {
        let isJSONByName = name.hasSuffix(".json")
        // A byte order mark says nothing in UTF-8.
        let bytes = bytes.starts(with: [0xef, 0xbb, 0xbf]) ? Array(bytes.dropFirst(3)) : bytes
        let first = bytes.first { $0 != 0x20 && $0 != 0x0a && $0 != 0x0d && $0 != 0x09 }
        if isJSONByName || first == UInt8(ascii: "{") {
            do {
                return try JSONDecoder().decode(Manifest.self, from: Data(bytes))
            } catch {
                if isJSONByName || !isBrokenText(error) { throw problem(error, inJSON: bytes) }
            }
        }
        guard bytes.count <= mostYAMLBytes else {
            throw Problem(text: "is larger than \(mostYAMLBytes >> 20) MiB; write large manifests as JSON, or in several files")
        }
        guard let text = String(validating: bytes, as: UTF8.self) else { throw Problem(text: "is not UTF-8 text") }
        return try parse(yaml: text)
    }

    /// Whether JSON's decoder did not get as far as a document.
    private static func isBrokenText(_ error: any Error) -> Bool {
        if case .dataCorrupted(let context) = error as? DecodingError { context.codingPath.isEmpty } else { false }
    }

    private static func problem(_ error: any Error, inJSON bytes: [UInt8]) -> Problem {
        bytes.withUnsafeBufferPointer { bytes in
            if bytes.allSatisfy({ $0 == 0x20 || $0 == 0x0a || $0 == 0x0d || $0 == 0x09 }) { return Problem.empty }
            if isBrokenText(error), let mistake = JSONLocator.firstMistake(in: bytes) {
                return Problem(line: mistake.position.line, column: mistake.position.column, text: mistake.problem)
            }
            guard let decoding = error as? DecodingError else { return Problem(text: "\(error)") }
            let error = ManifestError(decoding)
            let position = JSONLocator.position(of: error.path, in: bytes)
            return Problem(line: position?.line, column: position?.column, text: error.description)
        }
    }

    private static func parse(yaml text: String) throws(Problem) -> Manifest {
        var manifest = Manifest()
        var count = 0
        do {
            for node in try Array(documents(of: text)) where !isNothing(node) {
                count += 1
                do {
                    manifest.append(try YAMLDecoder().decode(Manifest.self, from: node))
                } catch let error as DecodingError {
                    let error = ManifestError(error)
                    let mark = mark(of: error.path, in: node)
                    throw Problem(line: mark?.line, column: mark?.column, text: error.description)
                }
            }
        } catch let problem as Problem {
            throw problem
        } catch let error as YamlError {
            throw Problem(error)
        } catch {
            throw Problem(text: "\(error)")
        }
        if count == 0 { throw .empty }
        return manifest
    }

    /// All documents, or the first error.
    private static func documents(of text: String) throws -> [Node] {
        let parser = try Parser(yaml: text)
        var nodes: [Node] = []
        while let node = try parser.nextRoot() { nodes.append(node) }
        return nodes
    }

    /// A document between two `---` with nothing in it.
    private static func isNothing(_ node: Node) -> Bool {
        if case .scalar(let scalar) = node { scalar.string.isEmpty } else { false }
    }

    /// Where the value at a path begins, or the nearest parent that is there.
    private static func mark(of path: [ManifestError.Step], in root: Node) -> Mark? {
        var node = root
        for step in path {
            let child: Node?
            switch (step, node) {
            case (.field(let name), .mapping(let mapping)): child = mapping[Node(name)]
            case (.index(let index), .sequence(let sequence)): child = sequence.indices.contains(index) ? sequence[index] : nil
            case (_, _): child = nil
            }
            guard let child else { break }
            node = child
        }
        return node.mark
    }
}

extension ManifestFile.Problem {
    /// Half a file is often an empty one first, so emptiness never removes endpoints.
    static let empty = Self(text: "holds no manifest; to remove its endpoints, delete the file")

    fileprivate init(_ error: YamlError) {
        switch error {
        case .scanner(let context, let problem, let mark, _), .parser(let context, let problem, let mark, _),
            .composer(let context, let problem, let mark, _):
            self.init(line: mark.line, column: mark.column, text: context.map { "\(problem) (\($0.text))" } ?? problem)
        case .duplicatedKeysInMapping(let duplicates, let context):
            self.init(
                line: context.mark.line, column: context.mark.column, text: "the key \(duplicates.joined(separator: ", ")) comes twice")
        case .reader(let problem, let offset, _, let yaml):
            let line = offset.map { yaml.prefix($0).count { $0.isNewline } + 1 }
            self.init(line: line, text: problem)
        case .no, .memory, .writer, .emitter, .representer, .dataCouldNotBeDecoded:
            self.init(text: error.description)
        }
    }
}
