// The native half of dmz.sample.Aggregate: the sum of vectors, place by place.

#include "dmz_sample_Aggregate.h"

#include <cmath>
#include <cstddef>
#include <new>
#include <stdexcept>
#include <string>
#include <vector>

namespace {

// Sums that keep their rounding error beside them (Neumaier's summation).
class Sums {
 public:
  explicit Sums(std::size_t length) : sums_(length), errors_(length) {}

  std::size_t length() const { return sums_.size(); }

  void Add(const std::vector<double>& values) {
    for (std::size_t place = 0; place < values.size(); ++place) {
      const double before = sums_[place];
      const double value = values[place];
      const double next = before + value;
      errors_[place] += std::fabs(before) >= std::fabs(value) ? (before - next) + value : (value - next) + before;
      sums_[place] = next;
    }
  }

  std::vector<double> Values() const {
    std::vector<double> values(sums_.size());
    for (std::size_t place = 0; place < values.size(); ++place) {
      values[place] = sums_[place] + errors_[place];
    }
    return values;
  }

 private:
  std::vector<double> sums_;
  std::vector<double> errors_;
};

std::vector<double> Row(JNIEnv* env, jobjectArray vectors, jsize number) {
  auto* row = static_cast<jdoubleArray>(env->GetObjectArrayElement(vectors, number));
  if (row == nullptr) {
    throw std::invalid_argument("Vector " + std::to_string(number + 1) + " is missing.");
  }
  std::vector<double> values(static_cast<std::size_t>(env->GetArrayLength(row)));
  env->GetDoubleArrayRegion(row, 0, static_cast<jsize>(values.size()), values.data());
  env->DeleteLocalRef(row);  // there may be more rows than the JVM has local references
  return values;
}

std::vector<double> Sum(JNIEnv* env, jobjectArray vectors) {
  const jsize count = vectors == nullptr ? 0 : env->GetArrayLength(vectors);
  if (count == 0) {
    throw std::invalid_argument("There is no vector to add.");
  }
  const std::vector<double> first = Row(env, vectors, 0);
  Sums sums(first.size());
  sums.Add(first);
  for (jsize number = 1; number < count; ++number) {
    const std::vector<double> values = Row(env, vectors, number);
    if (values.size() != sums.length()) {
      throw std::invalid_argument("Vector " + std::to_string(number + 1) + " has " + std::to_string(values.size()) +
                                  " places, the first has " + std::to_string(sums.length()) + ".");
    }
    sums.Add(values);
  }
  return sums.Values();
}

void Throw(JNIEnv* env, const char* type, const char* message) {
  if (jclass found = env->FindClass(type); found != nullptr) {
    env->ThrowNew(found, message);
  }
}

}  // namespace

// No C++ exception may leave this function: the JVM cannot unwind one.
JNIEXPORT jdoubleArray JNICALL Java_dmz_sample_Aggregate_sum(JNIEnv* env, jclass, jobjectArray vectors) {
  try {
    const std::vector<double> sum = Sum(env, vectors);
    jdoubleArray result = env->NewDoubleArray(static_cast<jsize>(sum.size()));
    if (result != nullptr) {
      env->SetDoubleArrayRegion(result, 0, static_cast<jsize>(sum.size()), sum.data());
    }
    return result;
  } catch (const std::invalid_argument& error) {
    Throw(env, "java/lang/IllegalArgumentException", error.what());
  } catch (const std::bad_alloc&) {
    Throw(env, "java/lang/OutOfMemoryError", "no memory for the vectors");
  }
  return nullptr;
}
