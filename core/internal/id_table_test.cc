#include "sluice/core/internal/id_table.h"

#include <cstdint>
#include <vector>

#include "gtest/gtest.h"

namespace sluice::internal {
namespace {

struct Entry {
  uint32_t generation = 0;
  bool used = false;
  int fd = -1;
};

TEST(IdTableTest, HeaderExample) {
  IdTable<Entry> table;
  const EntryId id = table.Add();
  table.At(id.index).fd = 5;
  EXPECT_EQ(table.Find(id)->fd, 5);
  table.Remove(id.index);
  EXPECT_EQ(table.Find(id), nullptr);
}

TEST(IdTableTest, WhoComesLateDoesNotFindWhoHasThePlaceNow) {
  IdTable<Entry> table;
  const EntryId before = table.Add();
  table.At(before.index).fd = 5;
  table.Remove(before.index);
  const EntryId now = table.Add();
  EXPECT_EQ(now.index, before.index);
  EXPECT_EQ(table.Find(before), nullptr);
  ASSERT_NE(table.Find(now), nullptr);
  EXPECT_EQ(table.Find(now)->fd, -1) << "nothing is left of the one before";
  EXPECT_EQ(table.IdOf(now.index), now);
}

TEST(IdTableTest, OthersKeepTheirPlacesAndIds) {
  IdTable<Entry> table;
  std::vector<EntryId> ids;
  for (int fd = 0; fd < 100; ++fd) {
    ids.push_back(table.Add());
    table.At(ids.back().index).fd = fd;
  }
  for (size_t i = 0; i < ids.size(); i += 2) table.Remove(ids[i].index);
  for (size_t i = 0; i < ids.size(); ++i) {
    const Entry* const entry = table.Find(ids[i]);
    ASSERT_EQ(entry == nullptr, i % 2 == 0) << i;
    EXPECT_EQ(table.At(ids[i].index).fd, i % 2 == 0 ? -1 : static_cast<int>(i));
  }
}

TEST(IdTableTest, VisitsThoseThatAreThere) {
  IdTable<Entry> table;
  const EntryId first = table.Add();
  const EntryId second = table.Add();
  const EntryId third = table.Add();
  table.Remove(second.index);
  std::vector<EntryId> visited;
  table.ForEach([&](EntryId id, Entry& entry) {
    EXPECT_EQ(&entry, table.Find(id));
    visited.push_back(id);
  });
  EXPECT_EQ(visited, (std::vector<EntryId>{first, third}));
}

TEST(IdTableTest, GenerationsStayWithinTheirBits) {
  IdTable<Entry> table;
  const EntryId first = table.Add();
  table.At(first.index).generation = EntryId::kGenerations - 1;
  const EntryId last = table.IdOf(first.index);
  table.Remove(first.index);
  EXPECT_EQ(table.Add(), first);
  EXPECT_EQ(table.Find(last), nullptr);
}

TEST(EntryIdTest, ComesBackFromItsBitsWhateverTheUpperByteSays) {
  for (const EntryId id :
       {EntryId{0, 0}, EntryId{7, 3}, EntryId{UINT32_MAX, EntryId::kGenerations - 1}}) {
    EXPECT_EQ(id.bits() >> 56, 0u);
    EXPECT_EQ(EntryId::Of(id.bits()), id);
    EXPECT_EQ(EntryId::Of(id.bits() | uint64_t{0xAB} << 56), id);
  }
}

}  // namespace
}  // namespace sluice::internal
