/// Elements by number, looked at and changed in place.
///
/// An array's own getter copies the element out for every call on it, with a reference count for each array inside. The address stays right
/// for the length of an access, because nothing can append to a row that is being accessed.
struct Row<Element: Sendable>: Sendable {
    private(set) var elements: ContiguousArray<Element>

    init(_ elements: ContiguousArray<Element> = []) { self.elements = elements }

    var count: Int { elements.count }
    var indices: Range<Int> { 0..<elements.count }

    mutating func append(_ element: Element) { elements.append(element) }

    subscript(i: Int) -> Element {
        @inline(__always) unsafeAddress {
            precondition(i >= 0 && i < elements.count)
            return elements.withUnsafeBufferPointer { UnsafePointer($0.baseAddress.unsafelyUnwrapped + i) }
        }
        @inline(__always) unsafeMutableAddress {
            precondition(i >= 0 && i < elements.count)
            return elements.withUnsafeMutableBufferPointer { $0.baseAddress.unsafelyUnwrapped + i }
        }
    }
}
