#include "registry.h"

namespace native {
namespace {

// A function's static variable, because kernel files register before any order of initialisation is defined.
std::map<std::string, std::vector<Factory>>& factories() {
  static std::map<std::string, std::vector<Factory>> all;
  return all;
}

}  // namespace

bool register_operator(const char* name, Factory factory) {
  factories()[name].push_back(factory);
  return true;
}

Factory find_operator(const std::string& name) {
  const auto found = factories().find(name);
  if (found == factories().end()) return nullptr;
  if (found->second.size() > 1) throw Failure("the engine has several operators named " + name);
  return found->second[0];
}

}  // namespace native
