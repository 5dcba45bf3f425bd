#include "program_file.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cctype>
#include <cstring>

namespace native {
namespace {

constexpr char kMagic[8] = {'C', 'H', 'O', 'R', 'E', 'O', 'N', 'P'};
constexpr uint32_t kVersion = 2;
constexpr int64_t kMaxNameBytes = 1 << 16;

struct Header {
  char magic[8];
  uint32_t version, lanes;
  int64_t words_at, words, weights_at, weights, file_bytes;
  int64_t name_bytes;  // directly after the header; every name ends with a zero byte
};
static_assert(sizeof(Header) == 64);

bool is_name(const std::string& text) {
  return !text.empty() && text.size() <= 64 && std::all_of(text.begin(), text.end(), [](unsigned char c) {
    return std::isalnum(c) || c == '_' || c == '.' || c == '-';
  });
}

}  // namespace

Mapping::Mapping(const char* path) {
  const int descriptor = ::open(path, O_RDONLY | O_CLOEXEC);
  require(descriptor >= 0, "the program file cannot be opened");
  struct stat info {};
  const bool regular = fstat(descriptor, &info) == 0 && S_ISREG(info.st_mode);
  bytes_ = regular ? info.st_size : 0;
  // Populated at once, so that the first call is not slower than the others.
  const int flags = MAP_SHARED | MAP_POPULATE;
  void* memory = bytes_ >= int64_t(sizeof(Header)) ? mmap(nullptr, bytes_, PROT_READ, flags, descriptor, 0)
                                                   : MAP_FAILED;
  ::close(descriptor);
  require(memory != MAP_FAILED, "the program file is too short or cannot be mapped");
  memory_ = static_cast<const char*>(memory);
}

Mapping::~Mapping() { munmap(const_cast<char*>(memory_), bytes_); }

ProgramFile::ProgramFile(const char* path) : file_(path) {
  const Header& header = *reinterpret_cast<const Header*>(file_.at(0));
  require(std::memcmp(header.magic, kMagic, sizeof kMagic) == 0, "the file is not a program");
  require(header.version == kVersion, "the program is of another version");
  require(header.lanes == kLanes, "the program was packed for vectors of another width");
  require(header.file_bytes == file_.bytes(), "the program file is truncated");
  require(inside(header.words_at, header.words, 8) && inside(header.weights_at, header.weights, 4) &&
              inside(sizeof(Header), header.name_bytes, 1) && header.name_bytes <= kMaxNameBytes,
          "the program's sections lie outside its file");
  words_ = reinterpret_cast<const int64_t*>(file_.at(header.words_at));
  weights_ = reinterpret_cast<const float*>(file_.at(header.weights_at));
  word_count_ = header.words;
  weight_count_ = header.weights;
  read_names(header.name_bytes);
}

bool ProgramFile::inside(int64_t first, int64_t count, int64_t size) const {
  const int64_t bytes = file_.bytes();
  return first >= 0 && first % 64 == 0 && first <= bytes && count >= 0 && count <= (bytes - first) / size;
}

void ProgramFile::read_names(int64_t bytes) {
  const char *next = file_.at(sizeof(Header)), *end = next + bytes;
  while (next < end) {
    const char* stop = std::find(next, end, '\0');
    require(stop < end, "the last of the operators' names has no end");
    names_.emplace_back(next, stop);
    require(is_name(names_.back()), "an operator's name is not made of letters, digits and _.-");
    next = stop + 1;
  }
}

}  // namespace native
