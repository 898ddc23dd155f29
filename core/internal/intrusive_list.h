#ifndef SLUICE_CORE_INTERNAL_INTRUSIVE_LIST_H_
#define SLUICE_CORE_INTERNAL_INTRUSIVE_LIST_H_

namespace sluice::internal {

// An element's place in an IntrusiveList of that tag: a base of the element, one for each list that
// it may stand in at a time.
template <typename Tag>
class ListLink {
 public:
  ListLink() = default;
  ListLink(const ListLink&) = delete;
  ListLink& operator=(const ListLink&) = delete;

 private:
  template <typename T, typename AnyTag>
  friend class IntrusiveList;

  ListLink* previous_ = nullptr;  // null in no list
  ListLink* next_ = nullptr;
};

// IntrusiveList is a doubly linked list that owns nothing and allocates nothing. An element is to
// be removed before it is destroyed.
//
// Example:
//   struct Waiting;
//   struct Job : ListLink<Waiting> {};
//   IntrusiveList<Job, Waiting> jobs;
//   jobs.PushBack(job);
//   IntrusiveList<Job, Waiting>::Remove(job);
template <typename T, typename Tag>
class IntrusiveList {
  using Link = ListLink<Tag>;

 public:
  IntrusiveList() { head_.previous_ = head_.next_ = &head_; }

  bool empty() const { return head_.next_ == &head_; }
  // Null where there is none.
  T* front() { return Element(head_.next_); }
  T* back() { return Element(head_.previous_); }
  T* Next(T& element) { return Element(static_cast<Link&>(element).next_); }

  void PushBack(T& element) { Insert(element, head_); }
  void InsertBefore(T& other, T& element) { Insert(element, other); }

  static bool Linked(const T& element) {
    return static_cast<const Link&>(element).next_ != nullptr;
  }
  // Nothing happens when the element is in no list.
  static void Remove(T& element) {
    Link& link = element;
    if (link.next_ == nullptr) return;
    link.previous_->next_ = link.next_;
    link.next_->previous_ = link.previous_;
    link.previous_ = link.next_ = nullptr;
  }

 private:
  T* Element(Link* link) { return link == &head_ ? nullptr : static_cast<T*>(link); }
  static void Insert(Link& link, Link& before) {
    link.previous_ = before.previous_;
    link.next_ = &before;
    link.previous_->next_ = &link;
    before.previous_ = &link;
  }

  Link head_;
};

}  // namespace sluice::internal

#endif  // SLUICE_CORE_INTERNAL_INTRUSIVE_LIST_H_
