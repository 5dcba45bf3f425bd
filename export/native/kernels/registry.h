// Operators by the names that program files use. A kernel file registers its own:
//
//   REGISTER_OPERATOR("product", Product)
#pragma once

#include <memory>
#include <string>

#include "operator.h"

namespace native {

using Factory = std::unique_ptr<Operator> (*)(Reader&);

// Returns true, so that a constant can be initialised with it when the library is loaded.
bool register_operator(const char* name, Factory factory);

// Null if there is no operator of that name. Throws Failure if several kernels claim it.
Factory find_operator(const std::string& name);

template <class T>
std::unique_ptr<Operator> make_operator(Reader& reader) {
  return std::make_unique<T>(reader);
}

}  // namespace native

#define REGISTER_OPERATOR(name, Type) \
  [[maybe_unused]] const bool registered_##Type = native::register_operator(name, native::make_operator<Type>);
